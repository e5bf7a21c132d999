"""What others read of a run gives the numbers of the run."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import yaml

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.errors import CheckpointRejected, UsageError
from sapiens_bench.models.result_files import read_results
from sapiens_bench.publish.export_poses import coco_files, fiftyone_files
from sapiens_bench.publish.exports import Source, hub_yaml, timm_csv
from sapiens_bench.store.record import CellRecord, Counts, RunRecord, ScoreRecord, read_run


def source(root: Path, **changes: object) -> Source:
    return Source(root, read_run(root), Catalog.load(), **changes)  # type: ignore[arg-type]


def test_pycocotools_finds_the_runs_ap_in_the_exported_files(pose_run: Path, tmp_path: Path) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    files = coco_files(source(pose_run, models=("movenet-lightning",))).files
    folder = "synthetic-humans/gt-box"
    assert set(files) == {f"{folder}/{name}.json" for name in ("movenet-lightning", "images", "truth")}
    for name in ("truth", "movenet-lightning"):
        (tmp_path / f"{name}.json").write_bytes(files[f"{folder}/{name}.json"])
    with redirect_stdout(io.StringIO()):
        truth = COCO(str(tmp_path / "truth.json"))
        scored = COCOeval(truth, truth.loadRes(str(tmp_path / "movenet-lightning.json")), "keypoints")
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
    cell = next(c for c in read_run(pose_run).cells if c.model == "movenet-lightning")
    assert scored.stats[0] == pytest.approx(cell.scores["oks/AP"].value, abs=1e-12)
    assert scored.stats[5] == pytest.approx(cell.scores["oks/AR"].value, abs=1e-12)


def test_a_run_of_maps_has_no_coco_results(seg_run: Path) -> None:
    with pytest.raises(UsageError, match="'seg'"):
        coco_files(source(seg_run))


def test_fiftyone_samples_hold_points_as_shares_of_the_picture_and_scores(pose_run: Path) -> None:
    found = fiftyone_files(source(pose_run))
    samples = json.loads(found.files["samples.json"])["samples"]
    assert len(samples) == 6
    first = samples[0]
    assert first["filepath"] in found.files
    assert {"ground_truth", "movenet_lightning", "movenet_lightning_score", "blazepose_lite"} <= set(first)
    points = [p for person in first["ground_truth"]["keypoints"] for p in person["points"]]
    assert any(p == [None, None] for p in points)
    shares = np.array([p for p in points if p[0] is not None])
    assert ((shares >= 0) & (shares <= 1)).all()
    predicted = first["movenet_lightning"]["keypoints"][0]
    assert (predicted["_cls"], len(predicted["points"]), len(predicted["confidence"])) == ("Keypoint", 17, 17)


def test_fiftyone_samples_of_labels_name_the_kept_masks(seg_run: Path) -> None:
    samples = json.loads(fiftyone_files(source(seg_run)).files["samples.json"])["samples"]
    label = samples[0]["noisy_oracle_seg"]
    assert label["_cls"] == "Segmentation"
    assert Path(label["mask_path"]).is_file()


def test_csv_is_sorted_best_first_in_per_cent_with_three_digits(pose_run: Path) -> None:
    lines = list(csv.DictReader(io.StringIO(timm_csv(source(pose_run)))))
    cells = {c.model: c for c in read_run(pose_run).cells}
    values = [float(line["AP"]) for line in lines]
    assert values == sorted(values, reverse=True)
    for line in lines:
        score = cells[line["model"]].scores["oks/AP"]
        assert line["AP"] == f"{100 * score.value:.3f}"
        assert line["AP_low"] == f"{100 * score.low:.3f}"
        assert (line["dataset"], line["n_images"], line["status"]) == ("synthetic-humans", "6", "done")


def test_an_error_is_sorted_upwards(depth_run: Path) -> None:
    values = [float(line["rmse"]) for line in csv.DictReader(io.StringIO(timm_csv(source(depth_run))))]
    assert values == sorted(values)


def test_the_hubs_own_reader_takes_the_metadata(pose_run: Path) -> None:
    from huggingface_hub.repocard_data import model_index_to_eval_results

    text, notes = hub_yaml(source(pose_run, models=("blazepose-lite",)))
    assert notes == []
    name, results = model_index_to_eval_results(yaml.safe_load(text)["model-index"])
    cell = next(c for c in read_run(pose_run).cells if c.model == "blazepose-lite")
    ap = next(r for r in results if r.metric_type == "oks/AP")
    assert (name, ap.task_type, ap.dataset_split) == (cell.title, "keypoint-detection", "tiny")
    assert ap.dataset_args == {"limit": 6}
    assert ap.metric_value == pytest.approx(100 * cell.scores["oks/AP"].value, abs=1e-5)
    assert ap.metric_args["level"] == 0.95


HOSTILE = '=cmd|x "a": [b] {c}\n- d\u202e\x1b[31m, ---'


def hostile_source(tmp_path: Path) -> Source:
    score = ScoreRecord(value=0.5, title=HOSTILE, headline=True)
    cell = CellRecord(task="pose", dataset="=d", protocol="p", model="=m", title=HOSTILE, status="done",
                      headline="oks/AP", scores={"oks/AP": score}, counts=Counts(planned=1, ok=1))  # fmt: skip
    lost = cell.model_copy(update={"model": "half", "status": "incomplete"})
    record = RunRecord(status="incomplete", task="pose", cells=[cell, lost], datasets={"=d": {"title": HOSTILE}})
    return Source(tmp_path, record, Catalog.load())


def test_hostile_names_are_no_formula_and_no_yaml(tmp_path: Path) -> None:
    lines = list(csv.reader(io.StringIO(timm_csv(hostile_source(tmp_path)))))
    assert lines[1][0] == "'=m"
    assert lines[1][-3] == "'=d"
    text, notes = hub_yaml(hostile_source(tmp_path))
    entry = yaml.safe_load(text)["model-index"]
    assert [e["name"] for e in entry] == ['=cmd|x "a": [b] {c} - d[31m, ---']
    assert notes == ["half on =d is incomplete and left out."]


def test_an_unknown_model_and_an_empty_run_are_refused(pose_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="movenet-lightning"):
        source(pose_run, models=("movenet-x",))
    with pytest.raises(UsageError, match="no measured model"):
        Source(tmp_path, RunRecord(status="done", task="pose"), Catalog.load())


Call = Callable[..., tuple[int, str, str]]


def test_the_command_writes_a_folder_or_prints_a_file(call: Call, pose_run: Path, tmp_path: Path) -> None:
    code, _, _ = call("export", pose_run, "--as", "coco", "--out", tmp_path / "c")
    assert code == 0
    assert (tmp_path / "c/synthetic-humans/gt-box/blazepose-lite.json").is_file()
    assert call("export", pose_run, "--as", "csv")[1].startswith("model,AP,AP_low")
    code, _, err = call("export", pose_run, "--as", "coco", "--out", tmp_path / "c.json")
    assert (code, (tmp_path / "c.json").exists()) == (2, False)
    assert "c.json is called like a file: --out c." in err
    with pytest.raises(CheckpointRejected, match=r"further down, as .*blazepose-lite\.json"):
        read_results(tmp_path / "c")
    code, _, err = call("export", pose_run, "--as", "coco")
    assert code != 0
    assert "--out" in err


def documented(name: str, repository: Path) -> str:
    """The code block of docs/results.md that follows ``<!-- name -->``."""
    text = (repository / "docs/results.md").read_text(encoding="utf-8")
    return text.partition(f"<!-- {name} -->")[2].split("```")[1].partition("\n")[2]


@pytest.mark.parametrize("name", ["pandas-rows", "pandas-run", "duckdb"])
def test_the_documented_lines_for_pandas_and_duckdb_run(
    name: str, repository: Path, pose_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "duckdb":
        pytest.importorskip("duckdb")
    monkeypatch.chdir(tmp_path)
    os.symlink(pose_run, "RUN")
    scope: dict[str, object] = {}
    exec(compile(documented(name, repository), name, "exec"), scope)
    frame = scope["frame"]
    assert len(frame) > 0  # type: ignore[arg-type]
    if name == "pandas-run":
        cell = read_run(pose_run).cells[0]
        values = frame[frame["score"] == "oks/AP"]["value"]  # type: ignore[index]
        assert math.isclose(max(values), max(c.scores["oks/AP"].value for c in read_run(pose_run).cells))
        assert cell.model in set(frame["model"])  # type: ignore[index]


def test_a_page_needs_no_torch(pose_run: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys; sys.argv[0] = 'sapiens-bench'\n"
        "import atexit; atexit.register(lambda: print('LOADED', *sorted(sys.modules), file=sys.stderr))\n"
        "from sapiens_bench.cli import main; main()"
    )
    arguments = ["view", str(pose_run), "--no-open", "--out", "page.html"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stderr.rpartition("LOADED ")[2].split())
    assert not loaded & {"torch", "torchvision", "transformers", "timm", "onnxruntime", "scipy"}
    assert (tmp_path / "page.html").stat().st_size > 50_000
