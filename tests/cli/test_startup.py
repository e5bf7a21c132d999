"""What every call pays: help and list stay light, in a fresh interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sapiens_bench.store.record import RunRecord, write_run

Cli = Callable[..., subprocess.CompletedProcess[str]]
_PARSER = {"annotated_doc", "markdown_it", "mdurl", "pygments", "rich", "shellingham", "typer"}
_PARSER |= {"attr", "attrs"}  # rich looks for them, and they are there where ray is
_CARDS = {"annotated_types", "cython_runtime", "numpy", "pydantic", "pydantic_core", "typing_extensions",
          "typing_inspection", "yaml"}  # fmt: skip
_TABLES = {"tabulate", "wcwidth"}
_PAGES = {"jinja2", "markupsafe"}
_ALWAYS = {"sapiens_bench.engine", "sapiens_bench.engine.threads"}  # what must be set before any library is loaded
_ALWAYS |= {"sapiens_bench.stats", "sapiens_bench.stats.draws"}  # two numbers, the defaults of flags
_HUB = {"huggingface_hub"}  # its folders; the library imports its own parts when they are used
_LISTS = {"cards", "cli", "embedded", "errors", "report"}
_TASKS = {"tasks", "types"}  # their titles are their own
# Tables of names, the options classes of wrappers and what scores them; no network and no image library.
_OPTIONS = {"adapters", "engine", "models", "pixels", "stats"}
_REPORT = {"cards", "cli", "errors", "publish", "report", "store"}
_ROWS = _PARSER | _CARDS | _TABLES | {"dateutil", "pyarrow"}
_DECIDE = {*_REPORT, "decide", "engine", "pixels", "stats"} | _TASKS
_PLAN = {*_REPORT, "adapters", "embedded", "engine", "models", "pixels", "render", "stats", "workers"} | _TASKS
# What a command may import: other people's packages, and folders of ours. A new name is a decision: it is paid for by
# every call of the command.
BUDGETS: dict[str, tuple[set[str], set[str]]] = {
    "--help": (_PARSER, {"cli", "errors", "report"}),
    "run --help": (_PARSER | _CARDS - {"numpy", "yaml", "cython_runtime"}, {"cli", "errors", "report"}),
    "report --help": (_PARSER | _CARDS - {"numpy", "yaml", "cython_runtime"}, {"cli", "errors", "report"}),
    "list": (_PARSER | _CARDS | _TABLES | _HUB, _LISTS | _TASKS | {"pixels", "stats"}),
    "list models --json": (_PARSER | _CARDS | _HUB, _LISTS | _TASKS | _OPTIONS),
    "list datasets --json": (_PARSER | _CARDS | _HUB | {"PIL", "msgspec"}, _PLAN),
    "list detectors --json": (_PARSER | _CARDS | _HUB, _LISTS | _TASKS | _OPTIONS),
    "data path": (_PARSER | _CARDS | _TABLES | _HUB, _LISTS | {"pixels"}),
    "report RUN": (_PARSER | _CARDS | _TABLES, _REPORT),
    "report RUN --format html": (_PARSER | _CARDS | _PAGES, _REPORT | _TASKS | {"stats"}),
    "report RUN --format latex": (_PARSER | _CARDS, _REPORT),
    "compare --help": (_PARSER | _CARDS - {"numpy", "yaml", "cython_runtime"}, {"cli", "errors", "report"}),
    "gate --help": (_PARSER | _CARDS - {"numpy", "yaml", "cython_runtime"}, {"cli", "errors", "report"}),
    "view --help": (_PARSER | _CARDS - {"numpy", "yaml", "cython_runtime"}, {"cli", "errors", "report"}),
    "export --help": (_PARSER | _CARDS - {"numpy", "yaml", "cython_runtime"}, {"cli", "errors", "report"}),
    "site --help": (_PARSER | _CARDS - {"numpy", "yaml", "cython_runtime"}, {"cli", "errors", "report"}),
    "study corruption --help": (_PARSER | _CARDS - {"numpy", "yaml", "cython_runtime"}, {"cli", "errors", "report"}),
    "compare BASELINE": (_ROWS, _DECIDE),
    "gate BASELINE BASELINE": (_ROWS, _DECIDE),
    "report PROFILE": (_PARSER | _CARDS | _TABLES, _REPORT | {"profiling"}),
    "run --task pose --models movenet-thunder --split tiny --dry-run": (
        _PARSER | _CARDS | _TABLES | {"PIL", "msgspec"},
        _PLAN | {"profiling"},  # records of what models cost
    ),
}


@pytest.mark.parametrize("command", BUDGETS)
def test_a_command_imports_no_more_than_its_budget(command: str, tmp_path: Path, repository: Path) -> None:
    packages, folders = BUDGETS[command]
    write_run(tmp_path / "run", RunRecord(status="done", task="pose"))
    places = {"RUN": str(tmp_path / "run"), "PROFILE": str(repository / "results/profiles/sapiens"),
              "BASELINE": str(repository / "results/golden/pose_tiny_baseline.parquet")}  # fmt: skip
    code = (
        "import atexit, sys; sys.argv[0] = 'sapiens-bench'; before = set(sys.modules)\n"
        "atexit.register(lambda: print('LOADED', *sorted(set(sys.modules) - before), file=sys.stderr))\n"
        "from sapiens_bench.cli import main; main()"
    )
    arguments = [places.get(word, word) for word in command.split()]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    loaded = done.stderr.rpartition("LOADED ")[2].split()
    tops = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names - {"sapiens_bench"}
    assert {name for name in tops if not name.startswith("_")} - packages == set()
    ours = {name.split(".")[1] for name in loaded if name.startswith("sapiens_bench.") and name not in _ALWAYS}
    assert ours - folders == set()


def test_pyarrow_goes_without_pandas_until_a_data_frame_is_wanted(tmp_path: Path) -> None:
    code = (
        "import sys; from sapiens_bench.cli.arrow import spare_pandas; spare_pandas()\n"
        "import numpy as np, pyarrow as pa, pyarrow.compute as pc\n"
        "column = pa.array([np.arange(3), None], pa.list_(pa.int64()))\n"
        "assert pc.equal(pa.array(np.arange(3)), 2).to_pylist() == [False, False, True]\n"
        "assert column.flatten().to_numpy().tolist() == [0, 1, 2]\n"
        "assert not [name for name in sys.modules if name.partition('.')[0] == 'pandas']\n"
        "assert pa.table({'a': [1, 2]}).to_pandas()['a'].tolist() == [1, 2]\n"
        "import pandas; spare_pandas(); assert sys.modules['pandas'] is pandas"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_imports_nothing_heavy(tmp_path: Path) -> None:
    code = "import sys; before = set(sys.modules); import sapiens_bench; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    tops = {name.partition(".")[0] for name in done.stdout.split()}
    assert tops - sys.stdlib_module_names == {"sapiens_bench"}, done.stderr


def test_no_arguments_print_help_with_examples(fresh_cli: Cli) -> None:
    done = fresh_cli()
    text = done.stdout + done.stderr
    assert text.count("sapiens-bench run --task") == 2
    assert "sapiens-bench report" in text
    assert "Traceback" not in text


def test_version(fresh_cli: Cli) -> None:
    import sapiens_bench

    assert fresh_cli("--version").stdout.strip() == f"sapiens-bench {sapiens_bench.__version__}"


def test_a_terminal_without_utf8_gets_no_traceback(fresh_cli: Cli) -> None:
    done = fresh_cli("list", PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    assert done.returncode == 0, done.stderr
    assert "movenet-thunder" in done.stdout


@pytest.mark.skipif(os.name != "posix", reason="a shell pipe")
def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    code = "import sys; sys.argv[0] = 'sapiens-bench'; from sapiens_bench.cli import main; main()"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", code, "list"],
        cwd=tmp_path,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=300,
    )
    os.close(writer)
    assert "Traceback" not in done.stderr
    assert "defect" not in done.stderr
