"""What an installation brings is pinned, listed and licensed: packages, data files, Python versions."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path, PurePosixPath

import pytest
import sbom

EXTRAS = ("dev", "exr", "fast", "kit")
SKIPPED = {"runs", "__pycache__", ".git", ".venv", "shared", "build"}
TEXT = re.compile(rb"^[^\0]*$", re.DOTALL)


def binary_files(repository: Path) -> list[str]:
    """Every file of the source tree that is no text."""
    names = []
    for top in ("sapiens_bench", "baselines", "datasets", "docs", "results", "tests", "tools"):
        for path in sorted((repository / top).rglob("*")):
            parts = path.relative_to(repository)
            if path.is_file() and not SKIPPED & set(parts.parts) and not TEXT.match(path.read_bytes()):
                names.append(parts.as_posix())
    return names


def noticed(repository: Path) -> list[str]:
    """Names and patterns of files in the notices; those of a folder's own notice are below it."""
    own = repository / "sapiens_bench/embedded"
    found = re.findall(r"[\w/*.-]+\.(?:\w+)", (repository / "NOTICE").read_text())
    for path in own.glob("NOTICE*"):
        found += [
            f"sapiens_bench/embedded/{name}" for name in re.findall(r"[\w-]+\.(?:npz|safetensors)", path.read_text())
        ]
    return found


def has_entry(name: str, entries: list[str]) -> bool:
    """By name or pattern; the pattern of data files that their own notice lists is not enough."""
    if name.startswith("sapiens_bench/embedded/"):
        return name in entries
    return any(
        PurePosixPath(name).match(PurePosixPath(entry).name) and name.startswith(entry.partition("*")[0])
        for entry in entries
    )


def test_every_binary_file_has_an_entry_in_a_notice(repository: Path) -> None:
    entries, names = noticed(repository), binary_files(repository)
    assert len(names) > 20
    assert [name for name in names if not has_entry(name, entries)] == []
    assert not has_entry("sapiens_bench/embedded/new.safetensors", entries)
    assert not has_entry("tests/new.png", entries)


def test_every_package_that_an_installation_brings_is_pinned(repository: Path) -> None:
    lines = (repository / "constraints.txt").read_text().splitlines()
    pinned = {sbom.normal(line.partition("==")[0]) for line in lines if "==" in line}
    brought = set(sbom.closure(sbom.NAME, EXTRAS)) - {"setuptools"}  # the build's own, which pip chooses
    assert len(brought) > 60
    assert sorted(brought - pinned) == []
    assert {"numpy", "torch", "pytest", "typing-extensions"} <= brought


def test_the_bill_of_materials_lists_packages_and_data_with_their_hashes(repository: Path, tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        subprocess.run([sys.executable, repository / "tools/sbom.py", tmp_path / name, "--extra", "dev"], check=True)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    bill = json.loads((tmp_path / "a.json").read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    by_name = {each["name"]: each for each in bill["components"]}
    assert by_name["numpy"]["purl"].startswith("pkg:pypi/numpy@")
    assert all(each["licenses"][0]["license"]["name"] not in ("", "UNKNOWN") for each in bill["components"])
    kit = "sapiens_bench/embedded/human_kit.npz"
    assert by_name[kit]["hashes"][0]["content"] == hashlib.sha256((repository / kit).read_bytes()).hexdigest()
    assert set(bill["dependencies"][0]["dependsOn"]) == {
        c["bom-ref"] for c in bill["components"] if c["type"] == "library"
    }


def test_an_extra_that_is_not_there_is_refused_with_those_that_are(repository: Path, tmp_path: Path) -> None:
    command = [sys.executable, repository / "tools/sbom.py", tmp_path / "a.json", "--extra", "nope"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "--extra nope" in done.stderr
    assert "dev, " in done.stderr
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize("minor", [11, 12, 13, 14])
def test_the_metadata_names_the_python_versions_that_it_admits(repository: Path, minor: int) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11"
    assert f"Programming Language :: Python :: 3.{minor}" in project["classifiers"]
