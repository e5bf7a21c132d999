"""``--select`` through the command line: what is kept is said, and nothing is refused with its reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., tuple[int, str, str]]
TINY = ("--dataset", "synthetic-humans", "--split", "tiny", "--n-boot", "0")


def test_a_run_says_which_images_were_kept_and_verifies(call: Call, tmp_path: Path) -> None:
    out = tmp_path / "run"
    code, said, _ = call("run", "--task", "pose", "--models", "oracle", *TINY, "--select", "people>1", "--out", out)
    assert code == 0
    assert "SUBSET: only images with people>1 (--select); not comparable with full results." in said
    assert "Selected by people>1: 3 of 12 images." in said
    assert "3 images scored." in said
    assert call("verify", out)[0] == 0
    assert "3 images" in call("report", out)[1]


def test_printed_rows_stand_beside_a_selection_with_the_reason_why_no_difference_is_formed(
    call: Call, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    ask = ("run", "--task", "pose", "--models", "movenet-lightning", *TINY, "--limit", "2", "--out", out)
    assert call(*ask, "--select", "people=1")[0] == 0
    code, said, _ = call("report", out, "--published")
    assert code == 0
    assert "Sapiens-2B" in said
    assert "SUBSET: images with people=1 (--select)" in said
    assert said == call("report", out, "--table", "paper-pose")[1]
    record = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps({**record, "task": "matting"}))
    code, _, error = call("report", out, "--published")
    assert code == 2
    assert "no printed table that is known here is about matting" in error


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("people>9", "selects none of 12 images. people is from 1 to 2."),
        ("box_pixels>3", "Did you mean 'box_px'"),
        ("box_px=>3", "write NAME OP NUMBER"),
    ],
)
def test_what_cannot_be_selected_is_refused(call: Call, tmp_path: Path, rule: str, reason: str) -> None:
    code, _, error = call(
        "run", "--task", "pose", "--models", "oracle", *TINY, "--select", rule, "--out", tmp_path / "r"
    )
    assert code == 2
    assert reason in error
    assert not (tmp_path / "r").exists()


def test_a_check_of_the_data_says_how_many_each_protocol_keeps(call: Call) -> None:
    code, said, _ = call("data", "check", "synthetic-humans", "--split", "tiny", "--select", "box_px>100")
    assert code == 0
    assert said.count("Selected by box_px>100: 11 of 12 images.") >= 4


def test_results_made_elsewhere_are_scored_on_the_images_that_are_kept(call: Call, tmp_path: Path) -> None:
    points = [v for j in range(17) for v in (60.0 + j, 70.0 + j, 2)]
    person = {"category_id": 1, "iscrowd": 0, "area": 900.0, "bbox": [50, 60, 40, 50], "keypoints": points}
    people = [{**person, "id": i, "image_id": image, "num_keypoints": 17} for i, image in ((1, 1), (2, 2), (3, 2))]
    images = [{"id": i, "width": 160, "height": 120, "file_name": f"{i}.png"} for i in (1, 2)]
    truth, results = tmp_path / "truth.json", tmp_path / "results.json"
    categories = [{"id": 1, "name": "person"}]
    truth.write_text(json.dumps({"images": images, "annotations": people, "categories": categories}))
    answers = [{"image_id": i, "category_id": 1, "keypoints": points, "score": 1.0} for i in (1, 2)]
    results.write_text(json.dumps(answers))
    code, said, _ = call(
        "score", "--truth", truth, results, "--select", "people=1", "--out", tmp_path / "s", "--n-boot", "0"
    )
    assert code == 0
    assert "Selected by people=1: 1 of 2 images." in said
    assert "1 image scored." in said


def test_how_far_the_judging_has_come_is_shown_before_anything_runs(call: Call, tmp_path: Path) -> None:
    ask = ("run", "--task", "pose", "--models", "oracle", *TINY, "--select", "people>1", "--out", tmp_path / "run")
    code, _, error = call(*ask)
    assert code == 0
    assert "Judging synthetic-humans: 12/12" in error
