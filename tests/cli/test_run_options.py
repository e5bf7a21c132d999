"""Options of ``run`` that say how data are read and how rows are kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from sapiens_bench.cli.flags import parse_workers
from sapiens_bench.errors import UsageError

Call = Callable[..., tuple[int, str, str]]
Words = tuple[str | Path, ...]


@pytest.fixture
def common(sphere: ModuleType, tmp_path: Path) -> Words:
    """The floor of one task on three pictures."""
    pictures = {name: sphere.perspective() for name in ("a", "b", "c")}
    data = sphere.write_folder(tmp_path / "data", pictures)
    return ("run", "--task", "normal", "--dataset", "folder", "--models", "floor-flat-normal", "--data-root", data,
            "--device", "cpu", "--n-boot", "0", "--workers", "1", "--out", tmp_path / "run")  # fmt: skip


def test_a_shard_holds_as_many_images_as_asked(call: Call, common: Words, tmp_path: Path) -> None:
    assert call(*common, "--shard-size", "2")[0] == 0
    assert len(list((tmp_path / "run" / "rows").rglob("*.parquet"))) == 2
    code, _, err = call(*common, "--shard-size", "3")
    assert (code, "shard_size" in err) == (2, True)
    assert call(*common, "--shard-size", "0")[0] == 2


def test_pictures_above_the_limit_are_refused_by_their_size(call: Call, common: Words, tmp_path: Path) -> None:
    code, _, err = call(*common, "--max-pixels", "100")
    assert (code, "over 100 pixels (--max-pixels)" in err) == (3, True), err
    asked = json.loads((tmp_path / "run" / "run.json").read_text())["request"]
    assert asked["max_pixels"] == 100
    code, _, err = call(*common)  # these rows are not the answer to another question
    assert (code, "max_pixels" in err) == (2, True), err


def test_options_of_data_sets_are_read_like_those_of_models(call: Call, common: Words) -> None:
    for given, said in (("no_such=1", "'no_such'"), ("flip", "--data-option 'flip' must have the form name=value")):
        code, _, err = call(*common, "--data-option", given)
        assert (code, said in err) == (2, True), err


def test_workers_are_a_number_or_auto() -> None:
    assert (parse_workers("auto"), parse_workers("3")) == (None, 3)
    for text in ("0", "-1", "two", ""):
        with pytest.raises(UsageError, match="auto, or a whole number from 1"):
            parse_workers(text)
