"""A run of which some models were refused: the others are in the table, and the exit code tells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from sapiens_bench.cli.refusals import complain_of_refusals
from sapiens_bench.errors import ModelsRefused
from sapiens_bench.store.record import CellRecord, CellStatus, RunRecord, read_run

Call = Callable[..., tuple[int, str, str]]
CARD = """schema: model/1
id: mine
title: Mine
task: normal
licence: {name: MIT}
wrapper: floors
trained_on: nothing
variants:
  - {id: mine-wrong, title: Mine, options: {rule: flat-normel}}
"""


@pytest.fixture
def common(sphere: ModuleType, tmp_path: Path) -> tuple[str | Path, ...]:
    """A plain folder with one picture, and a card with a wrong option."""
    data = sphere.write_folder(tmp_path / "data", {"a": sphere.perspective()})
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards/mine.yaml").write_text(CARD)
    return ("run", "--task", "normal", "--dataset", "folder", "--data-root", data, "--cards", tmp_path / "cards",
            "--device", "cpu", "--n-boot", "0", "--workers", "1", "--out", tmp_path / "run")  # fmt: skip


@pytest.mark.parametrize("more", [(), ("--strict",)])
def test_models_that_ran_are_in_the_table_and_the_refused_one_makes_exit_6(
    call: Call, common: tuple[str | Path, ...], tmp_path: Path, more: tuple[str, ...]
) -> None:
    code, out, err = call(*common, *more, "--models", "floor-flat-normal,mine-wrong")
    assert code == 6
    assert "Run: " in out
    assert "1 of 2 row(s) were refused" in err
    assert "Mine on folder: " in err
    assert "flat-normel" in err
    assert [(c.model, c.status) for c in read_run(tmp_path / "run").cells] == [
        ("floor-flat-normal", "done"),
        ("mine-wrong", "refused"),
    ]
    assert call("report", tmp_path / "run")[0] == 0
    code, _, err = call("report", tmp_path / "run", "--strict")
    assert (code, "Mine on folder" in err) == (6, True)


def test_weights_that_are_not_here_are_no_refusal(call: Call, common: tuple[str | Path, ...], tmp_path: Path) -> None:
    code, _, err = call(*common, "--models", "floor-flat-normal,sapiens-1b-normal")
    assert code == 0, err
    assert [c.status for c in read_run(tmp_path / "run").cells] == ["done", "weights missing"]
    assert call("report", tmp_path / "run", "--strict")[0] == 0


def test_when_nothing_ran_the_first_reason_is_the_error(call: Call, common: tuple[str | Path, ...]) -> None:
    code, _, err = call(*common, "--models", "mine-wrong")
    assert (code, "flat-normel" in err) == (2, True)


def test_many_refusals_are_counted() -> None:
    def cell(name: str, status: CellStatus, how: str = "") -> CellRecord:
        return CellRecord(
            task="t", dataset="d", protocol="p", model=name, title=name, family="f", status=status, how=how
        )

    cells = [cell("good", "done"), *(cell(f"bad{i}", "refused", "Its file is cut short.") for i in range(7))]
    with pytest.raises(ModelsRefused, match=r"7 of 8 row\(s\)") as error:
        complain_of_refusals(RunRecord(status="done", task="t", cells=cells))
    assert "bad4 on d: Its file is cut short." in str(error.value)
    assert "and 2 more" in str(error.value)
    complain_of_refusals(RunRecord(status="done", task="t", cells=cells[:1]))


def test_a_model_of_another_set_is_a_refusal_only_when_it_was_named(call: Call, tmp_path: Path) -> None:
    common = (
        "run",
        "--task",
        "seg",
        "--dataset",
        "synthetic-humans",
        "--split",
        "tiny",
        "--limit",
        "2",
        "--n-boot",
        "0",
    )
    code, out, err = call(*common, "--models", "floor-background,selfie-*", "--out", tmp_path / "a")
    assert code == 0, err
    assert "No map from 'person2' to 'body28'" in out + err
    code, _, err = call(*common, "--models", "floor-background,selfie-segmentation", "--out", tmp_path / "b")
    assert code == 6
    assert "No map from 'person2' to 'body28'" in err


def test_where_nothing_can_run_the_rows_are_counted_before_the_reason_of_one(
    call: Call, common: tuple[str | Path, ...]
) -> None:
    code, _, err = call(*common, "--models", "sapiens-1b-normal,mine-wrong")
    assert code == 2
    assert "None of 2 rows can be filled here: 1 weights missing, 1 refused." in err
    assert err.index("None of 2 rows") < err.index("error: ")
    code, _, err = call(*common, "--models", "sapiens-1b-normal")
    assert code == 2
    assert "None of" not in err


def test_a_study_says_a_note_once_and_not_with_every_condition(
    call: Call, common: tuple[str | Path, ...], tmp_path: Path
) -> None:
    (tmp_path / "cards/broken.yaml").write_text("schema: model/1\nid: [")
    without = [text for text in common[1:] if text not in ("--n-boot", "0")]
    code, _, err = call(
        "study", "corruption", *without, "--n-boot", "20", "--models", "floor-silhouette-normal", "--only", "noise",
        "--severities", "1,5",
    )  # fmt: skip
    assert code == 0, err
    assert err.count("Condition ") == 3
    assert err.count("note: Card refused: ") == 1
