"""Small real runs that the tests of this folder look at, made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import sapiens_bench


def _made(factory: pytest.TempPathFactory, name: str, **request: object) -> Path:
    out = factory.mktemp("runs") / name
    sapiens_bench.evaluate(split="tiny", limit=6, out=out, n_boot=100, **request)  # type: ignore[arg-type]
    return out


@pytest.fixture(scope="session")
def pose_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two networks and a noisy oracle on six images."""
    models = ["movenet-lightning", "blazepose-lite", "noisy-oracle"]
    return _made(tmp_path_factory, "pose", task="pose", models=models, datasets="synthetic-humans")


@pytest.fixture(scope="session")
def seg_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A floor and a noisy oracle, maps kept."""
    models = ["floor-background", "noisy-oracle-seg"]
    return _made(tmp_path_factory, "seg", task="seg", models=models, datasets="synthetic-humans", save_maps=True)


@pytest.fixture(scope="session")
def depth_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Likewise."""
    models = ["floor-median-depth", "noisy-oracle-depth"]
    return _made(tmp_path_factory, "depth", task="depth", models=models, datasets="synthetic-humans", save_maps=True)


@pytest.fixture(scope="session")
def normal_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Likewise."""
    models = ["floor-flat-normal", "noisy-oracle-normal"]
    return _made(tmp_path_factory, "normal", task="normal", models=models, datasets="synthetic-humans", save_maps=True)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The command line in this process."""

    def run(*args: object) -> tuple[int, str, str]:
        import sys

        from sapiens_bench import cli

        monkeypatch.setattr(sys, "argv", ["sapiens-bench", *map(str, args)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return (int(end.value.code or 0), *capsys.readouterr())

    return run
