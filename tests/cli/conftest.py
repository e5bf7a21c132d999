"""The command line as a user calls it, and one real run to look at."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def fresh_cli(tmp_path: Path) -> Cli:
    """Runs ``sapiens-bench`` in a fresh interpreter in an empty folder."""

    def run(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
        code = "import sys; sys.argv[0] = 'sapiens-bench'; from sapiens_bench.cli import main; main()"
        return subprocess.run(
            [sys.executable, "-c", code, *args],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200", "TERM": "dumb", **env},
        )

    return run


@pytest.fixture(scope="session")
def coco(request: pytest.FixtureRequest) -> Path:
    """The four sample pictures in COCO form."""
    folder: Path = request.getfixturevalue("shared") / "data" / "coco"
    if not (folder / "annotations").is_dir():
        pytest.skip("sample data not found")
    return folder


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Calls the command line in this process: (exit code, stdout, stderr)."""

    def run(*args: str | Path) -> tuple[int, str, str]:
        from sapiens_bench import cli

        monkeypatch.setattr(sys, "argv", ["sapiens-bench", *map(str, args)])
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return run
