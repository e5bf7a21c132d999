"""run.json: written and read back, read from earlier versions, refused when its names would lead out of the folder."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest

from sapiens_bench.errors import PathEscape, StoreError, WeightsMissing
from sapiens_bench.store.causes import cell_causes
from sapiens_bench.store.record import (
    BoxQualityRecord,
    Cause,
    CellRecord,
    Counts,
    DatasetRecord,
    HardwareRecord,
    RunRecord,
    ScoreRecord,
    Timing,
    read_run,
    write_run,
)
from sapiens_bench.store.throughput import carried_timings


def carried_timing(previous: RunRecord | None, now: RunRecord, cell: CellRecord) -> Timing:
    return carried_timings(previous, now, [cell])[0].timing


# As the version before commit records wrote it, shortened to one score.
SCHEMA_1 = """
{
 "schema": "run/1", "status": "done", "task": "pose", "command": "sapiens-bench run --task pose", "version": "0.1.0",
 "started": "2025-01-02T03:04:05+00:00", "finished": "2025-01-02T03:05:00+00:00",
 "git": {"commit": "0123456789abcdef", "dirty": true}, "packages": {"numpy": "2.0.0"},
 "hardware": {"device": "cpu", "system": "Linux x86_64", "cpu": "a CPU", "cores": 2, "torch_threads": 2, "ram_gb": 8.0},
 "request": {"task": "pose", "limit": null, "n_boot": 20, "seed": 0},
 "cards": {"coco-val2017": {"id": "coco-val2017"}},
 "datasets": {"coco-val2017": {
   "title": "COCO val2017 keypoints", "licence": "CC-BY-4.0", "n_images": 4, "manifest_sha256": "aa",
   "protocol": "gt-box", "protocol_title": "ground-truth boxes", "caveat": "", "boxes": "gt",
   "boxes_source": "ground truth",
   "boxes_notes": ["2 people have no box"],
   "box_quality": {"n_boxes": 6, "n_people": 6, "mean_iou": 1.0, "recall50": 1.0, "ap": null},
   "n_excluded": 1, "n_scored": 3}},
 "seeds": {"bootstrap": 0, "models": 0},
 "cells": [{
   "task": "pose", "dataset": "coco-val2017", "protocol": "gt-box", "model": "oracle", "title": "Oracle",
   "family": "oracle", "kind": "diagnostic", "status": "done", "how": "", "licence": "", "trained_on": "",
   "in_domain": false,
   "approximate": "", "caveat": "", "fingerprint": "ff", "weights_file": "", "weights_sha256": "",
   "weights_pinned": true, "weights_bytes": null, "published_as": [], "params_m": null,
   "counts": {"planned": 4, "ok": 2, "input_errors": 1, "prediction_errors": 1},
   "scores": {"oks/AP": {"value": 0.75, "low": null, "high": null, "level": 0.95, "n_groups": 3, "title": "AP",
     "unit": "", "percent": true, "decimals": 1, "higher_is_better": true, "headline": true}},
   "headline": "oks/AP",
   "errors": [
     {"key": "000000000139", "code": "image.missing", "detail": "val2017/139.jpg not found", "side": "input"},
     {"key": "000000000285", "code": "pred.shape", "detail": "16 points", "side": "prediction"}],
   "timing": {"wall_s": 2.0, "wait_s": 0.0, "prepare_s": 0.0, "forward_s": 1.0, "finish_s": 0.0, "measure_s": 0.0,
     "images": 4, "first_shard_s": 2.0, "first_shard_images": 4}}],
 "costs": [], "notes": ["a note"]
}
"""
# The first records of all: other key for the protocol's title, one note as a text, no boxes.
FIRST_DATASET = {"title": "Plain", "n_images": 2, "protocol title": "all of it", "boxes_notes": "3 files left out"}


def stored(tmp_path: Path, text: str) -> RunRecord:
    (tmp_path / "run.json").write_text(text)
    return read_run(tmp_path)


def test_a_record_of_schema_1_still_loads_with_all_it_knows(tmp_path: Path) -> None:
    record = stored(tmp_path, SCHEMA_1)
    data, cell = record.datasets["coco-val2017"], record.cells[0]
    assert (record.schema_, record.git.commit, record.git.dirty) == ("run/2", "0123456789abcdef", True)
    assert (record.hardware.device, record.hardware.ram_gb) == ("cpu", 8.0)
    assert (data.title, data.n_excluded, data.n_scored, data.boxes_source) == (
        "COCO val2017 keypoints", 1, 3, "ground truth")  # fmt: skip
    assert (data.notes, data.boxes_notes) == ([], ["2 people have no box"])
    assert data.box_quality is not None
    assert data.box_quality.mean_iou == 1.0
    assert math.isnan(data.box_quality.ap)
    assert cell.scores["oks/AP"].value == 0.75
    assert [(c.kind, c.side, c.count, c.first_key) for c in cell_causes(cell)] == [
        ("image.missing", "input", None, "000000000139"),
        ("pred.shape", "prediction", None, "000000000285"),
    ]
    assert cell.timing.images_per_s == 2.0


def test_the_first_records_still_load(tmp_path: Path) -> None:
    content = {**json.loads(SCHEMA_1), "datasets": {"coco-val2017": FIRST_DATASET}, "cells": [], "git": {}}
    data = stored(tmp_path, json.dumps(content)).datasets["coco-val2017"]
    assert (data.protocol_title, data.notes, data.boxes_notes) == ("all of it", ["3 files left out"], [])
    assert (data.n_excluded, data.box_quality) == (None, None)


def test_a_record_that_was_brought_up_to_date_stays_the_same(tmp_path: Path) -> None:
    record = stored(tmp_path, SCHEMA_1)
    write_run(tmp_path, record)
    assert read_run(tmp_path).model_dump_json() == record.model_dump_json()
    assert json.loads((tmp_path / "run.json").read_text())["schema"] == "run/2"


def free_parts(model: Any, path: str = "run") -> set[str]:
    """Dotted names of the fields of a record whose content has no type of ours."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        pending = [field.annotation]
        while pending:
            kind = pending.pop()
            if kind is Any:
                found.add(f"{path}.{name}")
            elif get_origin(kind) is not None:
                pending += get_args(kind)
            elif hasattr(kind, "model_fields"):
                found |= free_parts(kind, f"{path}.{name}")
    return found


def test_every_part_of_a_record_has_a_type_but_what_others_own() -> None:
    assert free_parts(RunRecord) == {"run.request", "run.cards", "run.costs"}


@pytest.mark.parametrize("place", ["task", "dataset", "protocol", "model"])
@pytest.mark.parametrize("name", ["../../escaped", "..", "a/b", ".", "a\\b", "a\u0000b"])
def test_names_of_a_foreign_record_cannot_lead_out_of_the_folder(tmp_path: Path, place: str, name: str) -> None:
    content = json.loads(SCHEMA_1)
    content["cells"][0][place] = name
    with pytest.raises(StoreError, match=rf"cells\.0\.{place}: .*cannot be a name"):
        stored(tmp_path, json.dumps(content))


@pytest.mark.parametrize("change", [{"task": "../x"}, {"datasets": {"../x": {}}}], ids=["task", "data set"])
def test_names_of_the_run_cannot_either(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(StoreError, match="cannot be a name"):
        stored(tmp_path, json.dumps(json.loads(SCHEMA_1) | change))


@pytest.mark.parametrize("schema", ["run/1", "run/2"])
@pytest.mark.parametrize(
    "change",
    [{"datasets": []}, {"datasets": {"a": 3}}, {"cells": {}}, {"cells": [3]}, {"cells": [{"errors": 1}]},
     {"cells": [{"errors": [1]}]}, {"status": "fine"}, {"surprise": 1}],
    ids=str,
)  # fmt: skip
def test_what_is_no_record_is_refused_with_the_place_and_no_page_of_a_library(
    tmp_path: Path, schema: str, change: dict[str, Any]
) -> None:
    with pytest.raises(StoreError, match=r"run\.json is not a run record") as caught:
        stored(tmp_path, json.dumps(json.loads(SCHEMA_1) | {"schema": schema} | change))
    assert next(iter(change)) in str(caught.value)
    assert "http" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000], ids=["empty", "cut", "list", "null", "deep"])
def test_a_damaged_record_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(StoreError, match=r"run\.json"):
        stored(tmp_path, text)


def test_a_link_in_place_of_the_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").symlink_to("/etc/hostname")
    with pytest.raises(PathEscape):
        read_run(tmp_path)


def test_a_refusal_is_kept_with_the_name_of_its_class(tmp_path: Path) -> None:
    cell = CellRecord(task="pose", dataset="d", protocol="p", model="m", title="M", status="planned")
    error = WeightsMissing("m.bin not found. Get it from X.")
    error.fix = "sapiens-bench weights get m"
    cell.refuse(error, "weights missing")
    write_run(tmp_path, RunRecord(status="done", task="pose", cells=[cell]))
    read = read_run(tmp_path).cells[0]
    assert (read.status, read.error_kind, read.how, read.fix) == (
        "weights missing",
        "WeightsMissing",
        "m.bin not found. Get it from X.",
        "sapiens-bench weights get m",
    )


def test_numbers_that_are_undefined_come_back_undefined(tmp_path: Path) -> None:
    score = ScoreRecord(value=math.nan, title="AP")
    cell = CellRecord(task="t", dataset="d", protocol="p", model="m", title="M", status="done", scores={"a/b": score})
    data = {"d": DatasetRecord(box_quality=BoxQualityRecord())}
    write_run(tmp_path, RunRecord(status="done", task="t", cells=[cell], datasets=data))
    record = read_run(tmp_path)
    assert math.isnan(record.cells[0].scores["a/b"].value)
    quality = record.datasets["d"].box_quality
    assert quality is not None
    assert math.isnan(quality.mean_iou)


def run_on(device: str, timing: Timing, batch: int = 8) -> tuple[RunRecord, CellRecord]:
    cell = CellRecord(
        task="t", dataset="d", protocol="p", model="m", title="M", status="done", fingerprint="f", timing=timing
    )
    hardware = HardwareRecord(device=device, cpu="a CPU")
    return RunRecord(
        status="done", task="t", hardware=hardware, request={"batch_size": batch, "workers": 2}, cells=[cell]
    ), cell


def test_a_rerun_keeps_what_was_measured() -> None:
    before, _ = run_on("cpu", Timing(wall_s=10, images=40, first_shard_s=2, first_shard_images=8))
    now, cell = run_on("cpu", Timing())
    assert carried_timing(before, now, cell) == before.cells[0].timing
    assert carried_timing(None, now, cell) == Timing()


def test_shards_of_two_runs_on_one_machine_add_up() -> None:
    before, _ = run_on("cpu", Timing(wall_s=10, images=40, first_shard_s=2, first_shard_images=8))
    now, cell = run_on("cpu", Timing(wall_s=5, images=20, first_shard_s=1, first_shard_images=4))
    timing = carried_timing(before, now, cell)
    assert (timing.wall_s, timing.images) == (15, 60)
    assert timing.images_per_s == 48 / 12


def test_throughput_of_another_machine_is_not_mixed_in_and_not_passed_off_as_of_this_one() -> None:
    before, _ = run_on("cpu", Timing(wall_s=10, images=40))
    now, cell = run_on("cpu", Timing(wall_s=1, images=20), batch=16)
    assert carried_timing(before, now, cell) == cell.timing
    now, cell = run_on("cuda", Timing())
    kept = carried_timing(before, now, cell)
    assert kept.images_per_s == 4.0
    assert kept.measured_on == "cpu (a CPU), batch 8, workers 2"
    third, again = run_on("cpu", Timing())  # back on the first machine, by way of the second's record
    elsewhere = now.model_copy(update={"cells": [now.cells[0].model_copy(update={"timing": kept})]})
    assert carried_timing(elsewhere, third, again).measured_on == ""


def test_timing_of_another_experiment_is_not_taken() -> None:
    before, old = run_on("cpu", Timing(wall_s=10, images=40))
    old.fingerprint = "other"
    now, cell = run_on("cpu", Timing())
    assert carried_timing(before, now, cell) == Timing()


def test_reading_a_run_loads_neither_torch_nor_pandas(repository: Path) -> None:
    modules = (
        "addresses adopt commits causes files fingerprint folder frames lock merge old_records paths predictions record"
    )
    modules += " remote rows statuses stock throughput"
    code = (
        "import sys\n"
        + "".join(f"import sapiens_bench.store.{name}\n" for name in modules.split())
        + "print(*sorted({'torch', 'pandas', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
    assert len(modules.split()) == len(list((repository / "sapiens_bench" / "store").glob("[!_]*.py")))


def test_counts_and_causes_are_written(tmp_path: Path) -> None:
    cell = CellRecord(
        task="t", dataset="d", protocol="p", model="m", title="M", status="done",
        counts=Counts(planned=2, ok=1, input_errors=1),
        causes=[Cause(kind="image.missing", side="input", count=1, first_key="a", detail="gone", fix="put it back")],
    )  # fmt: skip
    write_run(tmp_path, RunRecord(status="done", task="t", cells=[cell]))
    assert read_run(tmp_path).cells[0] == cell
