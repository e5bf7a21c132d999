"""``sapiens-bench score``: an annotation file and results, nothing else."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.store.record import CellRecord, RunRecord, read_run
from sapiens_bench.store.rows import read_rows

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run without --out lies below the current folder, which must not be the checkout."""
    monkeypatch.chdir(tmp_path)


SPACES = Catalog.load().spaces
LAYOUTS = (
    "aic", "ap10k", "crowdpose", "exlpose", "halpe", "human-art", "jhmdb", "lsp", "mhp", "ochuman", "posetrack18",
)  # fmt: skip


@pytest.fixture
def files(random_poses: ModuleType, tmp_path: Path) -> tuple[Path, Path]:
    """A random annotation file and results for it."""
    rng = np.random.default_rng(11)
    truth = random_poses.truth(rng, 12)
    return _written(tmp_path, truth, random_poses.results(rng, truth, boxes=False, ties=True))


def _written(folder: Path, truth: Any, results: Any) -> tuple[Path, Path]:
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "mine.json").write_text(json.dumps(results))
    return folder / "truth.json", folder / "mine.json"


def scored(call: Call, truth: Path, *results: Path, options: tuple[str, ...] = ()) -> tuple[RunRecord, str]:
    out = truth.parent / "run"
    shutil.rmtree(out, ignore_errors=True)
    code, text, err = call("score", "--truth", truth, *results, "--out", out, "--n-boot", "0", *options)
    assert code == 0, err
    return read_run(out), text


def ap(cell: CellRecord, key: str = "AP") -> float:
    return cell.scores[f"oks/{key}"].value


def pycocotools(
    truth: Path, results: Path, categories: Sequence[int] = (3,), sigmas: Sequence[float] = ()
) -> list[float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    data = COCO(str(truth))
    judge = COCOeval(data, data.loadRes(str(results)), "keypoints")
    judge.params.catIds = list(categories)
    judge.params.kpt_oks_sigmas = np.array(sigmas) if sigmas else judge.params.kpt_oks_sigmas
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    return [float(v) for v in judge.stats]


def test_a_text_that_has_come_to_name_two_images_is_told_by_verify_coco_with_the_file(
    call: Call, files: tuple[Path, Path]
) -> None:
    truth, results = files
    document, answers = json.loads(truth.read_text()), json.loads(results.read_text())
    names = {image["id"]: f"a/{image['id']}.jpg" for image in document["images"]}
    for image in document["images"]:
        image["file_name"] = names[image["id"]]
    for answer in answers:
        answer["image_id"] = names[answer["image_id"]].removeprefix("a/")
    _written(truth.parent, document, answers)
    scored(call, truth, results)
    document["images"][1]["file_name"] = document["images"][0]["file_name"].replace("a/", "b/")
    truth.write_text(json.dumps(document))
    code, out, err = call("verify", "coco", truth.parent / "run")
    assert code == 2, out
    assert f"{results}: image_id" in err
    assert "write the id" in err


def test_every_statistic_is_that_of_pycocotools_and_the_folder_is_a_run(call: Call, files: tuple[Path, Path]) -> None:
    truth, results = files
    record, text = scored(call, truth, results)
    names = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
    assert [ap(record.cells[0], name) for name in names] == pycocotools(truth, results)
    assert "mine" in text
    assert len(read_rows(truth.parent / "run/rows" / "pose/truth/people/mine")) == 12
    for command in (("verify", "run"), ("verify", "coco"), ("report",)):
        code, out, err = call(*command, truth.parent / "run")
        assert code == 0, out + err
    code, out, _ = call("verify", "coco", truth.parent / "run", "--out", truth.parent / "kept")
    assert "mine on truth" not in out  # nothing had to be mended: both files are the originals
    kept = {path.name: json.loads(path.read_text()) for path in (truth.parent / "kept").rglob("*.json")}
    assert json.loads(results.read_text()) in kept.values()


def test_results_that_name_images_by_text_are_compared_with_pycocotools_by_id(
    call: Call, files: tuple[Path, Path]
) -> None:
    truth, results = files
    names = {image["id"]: image["file_name"] for image in json.loads(truth.read_text())["images"]}
    entries = json.loads(results.read_text())
    for spelt in (lambda i: f"data/{names[i]}", str):
        written = [{**entry, "image_id": spelt(entry["image_id"])} for entry in entries]
        path = truth.parent / f"{spelt(entries[0]['image_id']).count('/')}.json"
        path.write_text(json.dumps(written), encoding="utf-16")  # as PowerShell writes it
        out = truth.parent / path.stem
        code, text, err = call("score", "--truth", truth, path, "--n-boot", 0, "--out", out)
        assert code == 0, text + err
        code, text, err = call("verify", "coco", out)
        assert code == 0, text + err
        assert "image_id, which is text, replaced by the image's id" in text


def test_a_whole_body_file_with_a_part_missing_is_not_scored_as_a_body(call: Call, tmp_path: Path) -> None:
    points = [10.0, 20.0, 2] * 17
    parts = {"foot_kpts": points[:18], "face_kpts": points * 4, "lefthand_kpts": (points * 2)[:63]}
    person = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 50, 50], "area": 900, "iscrowd": 0}
    truth = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 90, "height": 90}],
        "annotations": [{**person, "num_keypoints": 17, "keypoints": points, **parts}],
        "categories": [{"id": 1, "name": "person"}],
    }
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    (tmp_path / "r.json").write_text(json.dumps([{"image_id": 1, "category_id": 1, "keypoints": points, "score": 1}]))
    code, _, err = call("score", "--truth", tmp_path / "gt.json", tmp_path / "r.json", "--out", tmp_path / "o")
    assert code == 2
    assert "No map from 'coco17' to 'coco-wholebody133'" in err or "'righthand_kpts' has None" in err


def test_the_official_wholebody_example_is_reproduced_to_every_digit(call: Call, shared: Path, tmp_path: Path) -> None:
    folder = shared / "data/coco_wholebody_example"
    for name in ("example_gt.json", "example_pred.json"):
        shutil.copy(folder / name, tmp_path)
    record, _ = scored(call, tmp_path / "example_gt.json", tmp_path / "example_pred.json")
    expected = json.loads((folder / "expected_stats.json").read_text())["stats"]
    parts = {"lefthand": "left_hand/", "righthand": "right_hand/", "whole": "", "wholebody": ""}
    for part, statistics in expected.items():
        for name, value in statistics.items():
            found = ap(record.cells[0], f"{parts.get(part.replace('_', ''), part + '/')}{name}")
            assert round(found, 10) == value, (part, name)
    assert record.cells[0].counts.prediction_errors == 0
    code, out, err = call("verify", "coco", tmp_path / "run")
    assert code == 0, out + err


@pytest.mark.parametrize("name", LAYOUTS)
def test_truth_as_results_scores_one_in_every_layout(
    call: Call, pose_layouts: ModuleType, tmp_path: Path, name: str
) -> None:
    document = pose_layouts.layouts()[name]
    truth, results = _written(tmp_path, document, pose_layouts.as_results(document))
    record, _ = scored(call, truth, results)
    assert (ap(record.cells[0]), ap(record.cells[0], "AR")) == (1.0, 1.0)
    assert record.cells[0].counts.ok == len(document["images"])
    worse = pose_layouts.as_results(document)
    worse[0]["keypoints"] = [v + 400 * (i % 3 < 2) for i, v in enumerate(worse[0]["keypoints"])]
    record, _ = scored(call, *_written(tmp_path, document, worse))
    assert ap(record.cells[0]) < 0.9


def test_species_are_scored_one_by_one_and_averaged_as_in_pycocotools(
    call: Call, random_poses: ModuleType, tmp_path: Path
) -> None:
    rng = np.random.default_rng(3)
    document = random_poses.truth(rng, 12)
    results = random_poses.results(rng, document, boxes=False, ties=True)
    document["categories"] = [{"id": i, "name": name, "keypoints": list("abcdefghijklmnopq")}
                              for i, name in enumerate(("antelope", "bear", "cat"), start=1)]  # fmt: skip
    for entry in (*document["annotations"], *results):
        entry["category_id"] = int(rng.integers(1, 3))
    truth, mine = _written(tmp_path, document, results)
    record, text = scored(call, truth, mine, options=("--space", "ap10k-17", "--data-option", "names=ignore"))
    assert "means over the categories" in text
    code, out, err = call("verify", "coco", tmp_path / "run")
    assert code == 0, out + err
    names = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
    expected = pycocotools(truth, mine, [1, 2, 3], sigmas=SPACES["ap10k-17"].sigmas)
    found = [ap(record.cells[0], name) for name in names]
    assert [-1.0 if np.isnan(value) else value for value in found] == expected
    del results[0]["category_id"]
    _written(tmp_path, document, results)
    code, _, err = call("score", "--truth", truth, mine, "--space", "ap10k-17", "--data-option", "names=ignore")
    assert (code, "no category_id, and 3 categories are scored" in err) == (2, True)


def test_posetrack_files_are_ranked_by_the_ap_of_joints_where_that_is_asked_for(
    call: Call, pose_layouts: ModuleType, tmp_path: Path
) -> None:
    document = pose_layouts.layouts()["posetrack18"]
    results = pose_layouts.as_results(document)
    moved = [v + 300.0 if i % 3 < 2 else 3.0 for i, v in enumerate(results[0]["keypoints"])]
    results.append({**results[0], "keypoints": moved})  # somebody who is not there
    for name, low, high in (("ignore_regions_x", 300, 999), ("ignore_regions_y", 300, 999)):
        document["images"][0][name] = [[low, high, high, low] if name.endswith("x") else [low, low, high, high]]
    truth, mine = _written(tmp_path, document, results)
    joint_ap = ("--scoring", "pck=head", "--scoring", "joint_ap=true", "--data-option", "head_box=bbox_head")
    found = {}
    for regions in (False, True):
        more = ("--data-option", "ignore_regions=true") if regions else ()
        record, text = scored(call, truth, mine, options=(*joint_ap, *more))
        found[regions] = record.cells[0].scores["joint_ap/mAP"].value
        assert "Scoring keys over the protocol: pck=head, joint_ap=True" in text
    assert found[False] < found[True] == 1  # all of the stranger's points lie in the region
    document["images"][0]["ignore_regions_y"] = [[1, 2]]
    _written(tmp_path, document, results)
    code, _, err = call("score", "--truth", truth, mine, *joint_ap, *more)
    assert (code, "label.regions" in err) == (2, True)


def test_scoring_keys_are_checked_and_make_a_question_of_their_own(
    call: Call, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files[0].parent)
    for keys, folders in (((), 1), (("--scoring", "max_detections=1"), 2)):
        code, _, err = call("score", "--truth", *files, "--n-boot", "0", *keys)
        assert code == 0, err
        assert len(list(Path("results/runs").iterdir())) == folders
    (one,) = {read_run(f).cells[0].scores["oks/AR"].value for f in Path("results/runs").iterdir() if
              read_run(f).request["scoring"]}  # fmt: skip
    assert one < max(read_run(f).cells[0].scores["oks/AR"].value for f in Path("results/runs").iterdir())
    code, _, err = call("score", "--truth", *files, "--scoring", "max_detection=1")
    assert (code, "max_detections" in err) == (2, True)


def test_false_positives_and_people_who_are_not_found_count_and_are_no_errors(
    call: Call, files: tuple[Path, Path]
) -> None:
    truth, _ = files
    document = json.loads(truth.read_text())
    people = [p for p in document["annotations"] if p["num_keypoints"] and not p["iscrowd"]]
    found = [{**{k: p[k] for k in ("image_id", "category_id", "keypoints")}, "score": 0.5} for p in people[1:]]
    extra = [{**found[0], "image_id": image["id"], "keypoints": [1.0, 1.0, 1.0] * 17, "score": 0.9}
             for image in document["images"] for _ in range(20)]  # fmt: skip
    shown = {}
    for name, results in (("all", found), ("with", extra + found)):
        record, _ = scored(call, *_written(truth.parent, document, results))
        assert record.cells[0].counts.prediction_errors == 0
        shown[name] = ap(record.cells[0])
    assert shown["with"] < 0.1 < 0.9 < shown["all"] < 1


def test_a_second_suppression_is_asked_for_and_said(call: Call, files: tuple[Path, Path]) -> None:
    truth, _ = files
    document = json.loads(truth.read_text())
    people = [p for p in document["annotations"] if p["num_keypoints"] and not p["iscrowd"]]
    twice = [{**{k: p[k] for k in ("image_id", "category_id", "keypoints")}, "score": 0.9 - 0.01 * i - s}
             for i, p in enumerate(people) for s in (0.0, 0.005)]  # fmt: skip
    _written(truth.parent, document, twice)
    record, text = scored(call, truth, truth.parent / "mine.json")
    final = ap(record.cells[0])
    assert "suppressed" not in text
    assert final == pycocotools(truth, truth.parent / "mine.json")[0]
    record, text = scored(call, truth, truth.parent / "mine.json", options=("--nms",))
    assert "suppressed once more" in text
    assert ap(record.cells[0]) > final


def test_several_files_are_rows_of_one_table(call: Call, files: tuple[Path, Path]) -> None:
    truth, results = files
    other = results.with_name("other.json")
    shutil.copy(results, other)
    record, text = scored(call, truth, results, other)
    assert [cell.model for cell in record.cells] == ["mine", "other"]
    assert ap(record.cells[0]) == ap(record.cells[1])
    assert "other" in text


def test_the_same_files_stand_for_cards_in_a_run(call: Call, files: tuple[Path, Path]) -> None:
    truth, results = files
    record, _ = scored(call, truth, results)
    code, _, err = call(
        "run", "--task", "pose", "--dataset", f"truth:{truth}", "--models", f"predictions:{results}",
        "--boxes", "none", "--n-boot", "0", "--out", truth.parent / "other",
    )  # fmt: skip
    assert code == 0, err
    (again,) = read_run(truth.parent / "other").cells
    assert {key: s.value for key, s in again.scores.items()} == {
        key: s.value for key, s in record.cells[0].scores.items()
    }


def test_packed_files_and_json_lines_score_as_the_plain_ones(call: Call, files: tuple[Path, Path]) -> None:
    truth, results = files
    plain, _ = scored(call, truth, results)
    packed = [path.with_name(f"packed-{path.name}.gz") for path in files]
    for path, target in zip(files, packed, strict=True):
        target.write_bytes(gzip.compress(path.read_bytes()))
    lines = results.with_suffix(".jsonl")
    lines.write_text("\n".join(map(json.dumps, json.loads(results.read_text()))) + "\n")
    for given in ((packed[0], packed[1]), (truth, lines)):
        shutil.rmtree(truth.parent / "run")
        record, _ = scored(call, *given)
        assert {k: s.value for k, s in record.cells[0].scores.items()} == {
            k: s.value for k, s in plain.cells[0].scores.items()
        }
        code, out, err = call("verify", "coco", truth.parent / "run")
        assert code == 0, out + err


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda truth, results: results.write_text("{}"), "mine.json"),
        (lambda truth, results: results.unlink(), "does not exist"),
        (lambda truth, results: truth.unlink(), "truth.json"),
        (lambda truth, results: truth.write_text("[]"), "expected an annotation file"),
        (lambda truth, results: shutil.copy(truth, results), "score"),
        (lambda truth, results: results.write_text('{"people": [{"pose_keypoints_2d": []}]}'), "OpenPose's own format"),
    ],
)
def test_what_cannot_be_scored_is_named(
    call: Call, files: tuple[Path, Path], change: Callable[[Path, Path], object], part: str
) -> None:
    change(*files)
    code, out, err = call("score", "--truth", *files, "--out", files[0].parent / "run")
    assert code == 2
    assert part in err + out
    assert "Traceback" not in err


@pytest.mark.parametrize("which", [0, 1], ids=["truth", "results"])
def test_a_link_that_leads_to_itself_is_no_file_and_no_defect(call: Call, files: tuple[Path, Path], which: int) -> None:
    files[which].unlink()
    files[which].symlink_to(files[which])
    code, out, err = call("score", "--truth", *files, "--out", files[0].parent / "run")
    assert code == 2, out + err
    assert files[which].name in err


def test_boxes_none_is_refused_for_models_that_need_boxes(call: Call, files: tuple[Path, Path]) -> None:
    truth, results = files
    models = f"predictions:{results},movenet-lightning"
    code, _, err = call("run", "--task", "pose", "--dataset", f"truth:{truth}", "--boxes", "none", "--models", models)
    assert code == 2
    assert "--boxes none is for results made elsewhere" in err


def test_another_question_about_the_same_files_gets_another_folder(
    call: Call, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, results = files
    monkeypatch.chdir(truth.parent)
    for options in ((), ("--limit", "3"), ("--nms",), ("--data-option", "category=dog")):
        call("score", "--truth", truth, results, "--n-boot", "0", *options)
    assert len(list((truth.parent / "results/runs").iterdir())) == 3  # nobody is a dog
    code, _, err = call("score", "--truth", truth, results, "--n-boot", "0")
    assert (code, "found on disk" in err) == (0, True), err


def test_where_nobody_is_found_the_table_asks_for_the_usual_causes(call: Call, files: tuple[Path, Path]) -> None:
    truth, results = files
    assert "Nobody is found" not in scored(call, truth, results)[1]
    answers = json.loads(results.read_text())
    for answer in answers:
        points = np.reshape(answer["keypoints"], (-1, 3))
        answer["keypoints"] = (points[:, [1, 0, 2]] + [3000, 0, 0]).ravel().tolist()
    results.write_text(json.dumps(answers))
    _, text = scored(call, truth, results)
    assert "Nobody is found by mine: no answer comes within OKS 0.5 of a person." in text
