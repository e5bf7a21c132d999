"""The house rules that a program can check: imports, sizes, forbidden calls, packaging, no shadowing."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "sapiens_bench"
GROUPS: tuple[tuple[str, ...], ...] = (  # a module imports from groups above its own line, or from its own folder
    ("errors", "embedded", "cgroups"),
    ("types", "workers"),
    ("pixels",),
    ("cards", "render", "stats", "store"),
    ("tasks",),
    ("adapters", "models", "profiling", "fetch"),
    ("engine", "report"),
    ("probe",),  # fits heads, on data sets and by weights that the engine opens
    # checks: compares all of the above with what is outside: official outputs, weight files, pycocotools
    ("checks", "decide"),
    ("publish",),  # what leaves a run folder
    ("study",),  # runs under conditions, what each does to a score, and its page with pictures
    ("api", "metrics"),
    ("cli",),
    ("testing", "__main__"),
)
RANK = {name: rank for rank, names in enumerate(GROUPS) for name in names}
HEAVY = {"torch", "torchvision", "timm", "transformers", "onnxruntime", "pandas", "scipy", "matplotlib", "ray", "anny"}
MAX_LINES = 400


def sources(root: Path) -> list[Path]:
    return sorted((root / PACKAGE).rglob("*.py"))


def trees(root: Path) -> Iterator[tuple[Path, ast.Module]]:
    for path in sources(root):
        yield path.relative_to(root), ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, module) of every import, those inside functions included; ``from a import b`` gives ``a.b`` as well."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield node.lineno, "." * node.level + (node.module or "")
            elif node.module == PACKAGE:
                yield from ((node.lineno, f"{PACKAGE}.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, node.module or ""


def import_faults(path: Path, tree: ast.AST) -> list[str]:
    """Upward, sibling and relative imports of one file of the package (path relative to the repository)."""
    own = path.parts[1].removesuffix(".py")
    if own == "__init__":
        return []  # the public names, resolved lazily
    if own not in RANK:
        return [f"{path}: {own!r} belongs to no group of tests/test_architecture.py"]
    faults = []
    for line, module in imported(tree):
        if module.startswith("."):
            faults.append(f"{path}:{line} relative import of {module}")
        parts = module.split(".")
        if parts[0] != PACKAGE or len(parts) < 2 or parts[1] in (own, "__version__", "__file__"):
            continue
        if parts[1] not in RANK or RANK[parts[1]] >= RANK[own]:
            faults.append(f"{path}:{line} {own} must not import {module}")
    return faults


def top_level_imports(body: list[ast.stmt]) -> Iterator[tuple[int, str]]:
    """Imports that run when the module is imported; those for type checkers alone do not."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imported(ast.Module([node], []))
        elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test):
            yield from top_level_imports(node.body + node.orelse)
        elif isinstance(node, ast.Try):
            yield from top_level_imports(node.body)


def forbidden_calls(path: Path, tree: ast.AST) -> list[str]:
    """Calls that could run what a file holds."""
    faults = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
        if name.endswith("torch.load") and keywords.get("weights_only") != "True":
            faults.append("torch.load without weights_only=True")
        if name in ("eval", "exec", "pickle.load", "pickle.loads", "pickle.Unpickler", "yaml.unsafe_load", "os.system"):
            faults.append(name)
        if name == "yaml.load" and "Unsafe" in ast.unparse(node):
            faults.append("yaml.load with an unsafe loader")
        if name == "yaml.load" and not (len(node.args) == 2 or "Loader" in keywords):
            faults.append("yaml.load without a loader")
        if name.startswith("torch.hub"):
            faults.append(name)
        if keywords.get("allow_pickle") == "True":
            faults.append("allow_pickle=True")
        if keywords.get("trust_remote_code") == "True":
            faults.append("trust_remote_code=True")
        if keywords.get("shell") == "True":
            faults.append("shell=True")
        if name.endswith(("extract", "extractall")) and "tar" in name.lower() and keywords.get("filter") != "'data'":
            faults.append(f"{name} without filter='data'")
    return [f"{path}: {fault}" for fault in faults]


def test_modules_import_only_from_groups_to_their_left(repository: Path) -> None:
    assert [fault for path, tree in trees(repository) for fault in import_faults(path, tree)] == []


def test_the_page_numbers_the_rooms_as_the_check_does(repository: Path) -> None:
    page = (repository / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = [(int(number), names) for number, names in re.findall(r"^\| (\d+) \| (.*?) \|", page, re.M)]
    told = [(number - 1, name) for number, names in rows for name in re.findall(r"`(\w+)`", names)]
    assert sorted(told) == sorted((rank, name) for name, rank in RANK.items())
    assert rows == sorted(rows, key=lambda row: row[0])


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("store/x.py", "from sapiens_bench.engine import run"),  # upward
        ("store/x.py", "def f():\n    import sapiens_bench.engine.run"),  # upward, inside a function
        ("store/x.py", "from sapiens_bench.cards import catalog"),  # sibling
        ("store/x.py", "from sapiens_bench import engine"),  # upward, by way of the package
        ("report/x.py", "if TYPE_CHECKING:\n    from sapiens_bench.engine.run import run"),  # for types alone
        ("store/x.py", "from . import rows"),  # relative
        ("novel/x.py", "import os"),  # a folder without a group
    ],
)
def test_the_import_check_finds_planted_faults(path: str, code: str) -> None:
    assert import_faults(Path(PACKAGE) / path, ast.parse(code))


def test_the_import_check_passes_what_is_allowed() -> None:
    code = "from sapiens_bench import __version__\nfrom sapiens_bench.store import rows\nimport sapiens_bench.errors"
    assert import_faults(Path(PACKAGE, "store", "x.py"), ast.parse(code)) == []


def test_heavy_libraries_are_imported_where_they_are_used(repository: Path) -> None:
    """Files that define torch modules may import torch at the top: they are themselves imported by name, lazily."""
    found = []
    for path, tree in trees(repository):
        nets = any(
            isinstance(node, ast.ClassDef) and any("Module" in ast.unparse(base) for base in node.bases)
            for node in ast.walk(tree)
        )
        lazily_named = path.parts[1] in ("models", "probe", "checks", "profiling")
        for line, module in top_level_imports(tree.body):
            top = module.split(".")[0]
            if top in HEAVY and not (top == "torch" and (nets or lazily_named)):
                found.append(f"{path}:{line} {module}")
    assert found == []


@pytest.mark.parametrize("folder", [PACKAGE, "tools", "tests"])
def test_no_file_is_longer_than_400_lines(repository: Path, folder: str) -> None:
    lengths = {p: len(p.read_text(encoding="utf-8").splitlines()) for p in (repository / folder).rglob("*.py")}
    assert {str(p.relative_to(repository)): n for p, n in lengths.items() if n > MAX_LINES} == {}


def test_nothing_is_printed_outside_the_command_line(repository: Path) -> None:
    found = [
        f"{path}:{node.lineno}"
        for path, tree in trees(repository)
        if path.parts[1] != "cli"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert found == []


def test_no_call_can_run_what_a_file_holds(repository: Path) -> None:
    assert [fault for path, tree in trees(repository) for fault in forbidden_calls(path, tree)] == []


@pytest.mark.parametrize(
    "code",
    [
        "torch.load(p)",
        "torch.load(p, weights_only=False)",
        "pickle.load(f)",
        "np.load(p, allow_pickle=True)",
        "yaml.load(t)",
        "yaml.load(t, Loader=yaml.UnsafeLoader)",
        "torch.hub.load('a', 'b')",
        "eval(text)",
        "subprocess.run(c, shell=True)",
        "tarball.extractall(d)",
        "AutoModel.from_pretrained(x, trust_remote_code=True)",
    ],
)
def test_the_call_check_finds_planted_faults(code: str) -> None:
    assert forbidden_calls(Path("x.py"), ast.parse(code))


def test_card_folders_hold_no_code(repository: Path) -> None:
    found = [str(p) for folder in ("baselines", "datasets") for p in (repository / folder).rglob("*.py")]
    assert found == []


def test_every_folder_of_the_package_is_a_package(repository: Path) -> None:
    """Folders without ``__init__.py`` would be left out of the wheel (tests/packaging looks into one)."""
    missing = {str(p.parent) for p in sources(repository) if not (p.parent / "__init__.py").is_file()}
    assert missing == set()


def test_card_folders_do_not_shadow_other_packages(tmp_path: Path) -> None:
    """``datasets`` is also the name of a Hugging Face package; ours must not be importable under it."""
    code = (
        "import importlib.util as u\n"
        "for name in ('datasets', 'baselines', 'tools', 'tests', 'results'):\n"
        "    spec = u.find_spec(name)\n"
        "    places = [] if spec is None else [spec.origin or '', *(spec.submodule_search_locations or [])]\n"
        "    print(name, *places, sep='\\t')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    root = str(Path(__file__).resolve().parent.parent)
    assert root not in done.stdout


def test_the_version_is_said_once(repository: Path) -> None:
    import sapiens_bench

    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    assert project["version"] == sapiens_bench.__version__
    assert importlib.metadata.version(project["name"]) == sapiens_bench.__version__


def test_below_the_plan_nothing_sees_a_request_or_a_catalog(repository: Path) -> None:
    """Only the modules that turn names into specs may import them."""
    allowed = {"plan", "cells", "data_specs", "model_specs", "detect", "request", "specs", "profile", "profile_build",
               "profile_request", "build", "stored", "own_models", "own_facts", "own_heads", "own_hub", "again",
               "reopen", "declared"}  # fmt: skip
    for path in (repository / "sapiens_bench" / "engine").glob("*.py"):
        text = path.read_text()
        if path.stem not in allowed:
            assert "sapiens_bench.engine.request" not in text, path
            assert "sapiens_bench.cards.catalog" not in text, path
    for folder in ("adapters", "models", "tasks", "store", "stats"):
        for path in (repository / "sapiens_bench" / folder).rglob("*.py"):
            text = path.read_text()
            assert "sapiens_bench.cards.catalog" not in text, path
            assert "sapiens_bench.engine.request" not in text, path
