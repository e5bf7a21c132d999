"""What is built from the source tree: complete, and usable from another folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "__pycache__", "*.egg-info", "build", "runs", "shared", ".*_cache")


def backend(call: str, folder: Path, out: Path) -> Path:
    """One call of the build backend, as pip makes it, in a process of its own; the file it made."""
    out.mkdir(exist_ok=True)
    code = f"import sys; import setuptools.build_meta as b; b.{call}(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, str(out)], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    (made,) = out.iterdir()
    return made


@pytest.fixture(scope="module")
def built(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A source distribution, and the wheel that is built from it."""
    root = tmp_path_factory.mktemp("build")
    shutil.copytree(repository, root / "tree", ignore=LEFT_OUT)
    sdist = backend("build_sdist", root / "tree", root / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(root / "unpacked", filter="data")
    (source,) = (root / "unpacked").iterdir()
    return {"source": source, "wheel": backend("build_wheel", source, root / "wheel")}


@pytest.mark.slow
def test_the_source_distribution_is_complete(built: dict[str, Path], repository: Path) -> None:
    there = {str(p.relative_to(built["source"])) for p in built["source"].rglob("*") if p.is_file()}
    for name in ("docs/contact_sheet.jpg", "constraints.txt", "tools/check", "tests/conftest.py", ".ci/run", "NOTICE",
                 "CHANGELOG.md", "CONTRIBUTING.md", "results/published/README.md", "setup.py",
                 "results/faults/README.md"):  # fmt: skip
        assert name in there
    folders = ("sapiens_bench", "tests", "tools", "baselines", "datasets", "docs")
    tracked = {str(p.relative_to(repository)) for f in folders
               for p in (repository / f).rglob("*") if p.is_file() and "__pycache__" not in p.parts}  # fmt: skip
    assert tracked - there == set()


@pytest.mark.slow
def test_the_wheel_holds_every_package_and_card(built: dict[str, Path], repository: Path) -> None:
    with zipfile.ZipFile(built["wheel"]) as wheel:
        there = set(wheel.namelist())
    package = {str(p.relative_to(repository)) for p in (repository / "sapiens_bench").rglob("*")
               if p.is_file() and "__pycache__" not in p.parts}  # fmt: skip
    cards = {f"sapiens_bench/_cards/{p.relative_to(repository)}" for f in ("baselines", "datasets")
             for p in (repository / f).rglob("*.yaml")}  # fmt: skip
    published = {f"sapiens_bench/_cards/published/{p.name}" for p in (repository / "results/published").glob("*.yaml")}
    assert package | cards | published <= there
    roots = {name.partition("/")[0] for name in there}
    assert {root for root in roots if not root.endswith(".dist-info")} == {"sapiens_bench"}


@pytest.mark.slow
def test_the_wheel_works_from_another_folder(built: dict[str, Path], tmp_path: Path) -> None:
    with zipfile.ZipFile(built["wheel"]) as wheel:
        wheel.extractall(tmp_path / "site")
    (tmp_path / "elsewhere").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "NO_COLOR": "1"}
    for command, wanted in (
        (["-c", "import sapiens_bench; print(sapiens_bench.__file__)"], str(tmp_path / "site")),
        (["-m", "sapiens_bench", "list"], "movenet-thunder"),
        (["-m", "sapiens_bench", "list", "spaces"], "goliath308"),
    ):
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path / "elsewhere", env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert wanted in done.stdout
        assert "left out" not in done.stderr
