"""Runs to decide between: the toy, whose score is known by arithmetic, and the shipped pose models."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sapiens_bench.testing import toy


@pytest.fixture(autouse=True)
def _toy_installed() -> Iterator[None]:
    with toy.installed():
        yield


@pytest.fixture
def toy_run(tmp_path: Path) -> Callable[..., Path]:
    """Factory: ``toy_run("a", bias=0.1)`` runs 10 pictures in 5 groups; the error of each is ``bias``."""

    def make(name: str, **options: Any) -> Path:
        toy.go(tmp_path / name, {"n": 10}, options=options)
        return tmp_path / name

    return make


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Calls the command line in this process: (exit code, stdout, stderr)."""

    def run(*args: str | Path) -> tuple[int, str, str]:
        from sapiens_bench import cli

        monkeypatch.setattr(sys, "argv", ["sapiens-bench", *map(str, args)])
        monkeypatch.setenv("NO_COLOR", "1")
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return run
