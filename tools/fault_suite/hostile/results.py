"""Results files of poses."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from fault_suite.hostile.annotations import document
from fault_suite.hostile.place import Found, Place, Wanted
from sapiens_bench.store.record import CellRecord, read_run
from sapiens_bench.store.rows import read_rows

NAN = float("nan")
AS_EVALUATED = "judged as the field's own evaluation judges results made elsewhere"
Change = Callable[[list[dict[str, Any]]], object]

CHANGES: dict[str, tuple[Wanted, Change, str]] = {
    "ok": ("ok", lambda r: None, ""),
    "all_nan": ("row_error", lambda r: [p.update(keypoints=[NAN, NAN, 1.0] * 17) for p in r], ""),
    "one_nan": ("row_error", lambda r: r[0]["keypoints"].__setitem__(0, NAN), ""),
    "inf": ("row_error", lambda r: r[0]["keypoints"].__setitem__(0, float("inf")), ""),
    "score_nan": ("row_error", lambda r: r[0].update(score=NAN), ""),
    "score_missing": ("row_error", lambda r: r[0].pop("score"), ""),
    "16_kpts": ("row_error", lambda r: r[0].update(keypoints=r[0]["keypoints"][:48]), ""),
    "133_kpts": ("row_error", lambda r: r[0].update(keypoints=[1.0, 1.0, 1.0] * 133), ""),
    "unknown_image": ("ok", lambda r: r[0].update(image_id=999), f"left out and said; {AS_EVALUATED}"),
    "missing_image": ("ok", lambda r: r.pop(), f"a miss, said in a note; {AS_EVALUATED}"),
    "duplicate": ("ok", lambda r: r.append(dict(r[0])), f"a false positive; {AS_EVALUATED}"),
    "empty": ("reject_file", lambda r: r.clear(), ""),
    "huge_coord": ("ok", lambda r: r[0]["keypoints"].__setitem__(0, 1e30), ""),
}
HARMLESS = ("pred_ok",)  # every other one must score lower


def make(place: Place) -> None:
    """Write them, and the annotations they are scored against."""
    folder = place.root / "results"
    folder.mkdir()
    truth = document()
    (folder / "truth.json").write_text(json.dumps(truth))
    sound = [
        {"image_id": a["image_id"], "category_id": 1, "score": 0.9,
         "keypoints": [1.0 if k % 3 == 2 else v for k, v in enumerate(a["keypoints"])]}
        for a in truth["annotations"]
    ]  # fmt: skip
    for name, (wanted, change, why) in CHANGES.items():
        content = json.loads(json.dumps(sound))
        change(content)
        place.add(f"pred_{name}", "predictions", wanted, why)
        (folder / f"pred_{name}.json").write_text(json.dumps(content))
    place.add("pred_truncated", "predictions", "reject_file")
    (folder / "pred_truncated.json").write_text(json.dumps(sound)[:300])


def judge(place: Place) -> dict[str, Found]:
    """Score all of them with one command: a file that is refused stops no other."""
    folder, out = place.root / "results", place.root / "runs/results"
    files = [folder / f"{case.id}.json" for case in place.of("predictions")]
    call = place.call(
        "score", "--task", "pose", "--truth", folder / "truth.json", *files, "--out", out, "--n-boot", 0,
        "--max-errors", 1,
    )  # fmt: skip
    record = read_run(out)
    found = {}
    best = next(cell.scores["oks/AP"].value for cell in record.cells if cell.model == "pred_ok")
    for cell in record.cells:
        case = next(case for case in place.of("predictions") if case.id == cell.model)
        if cell.status == "refused":
            found[case.id] = Found("reject_file", f"{case.id}.json" in cell.how, cell.how)
            continue
        rows = read_rows(out / "rows/pose" / cell.dataset / cell.protocol / cell.model)
        bad = [code for code in rows["error_code"].to_pylist() if code]
        got = "row_error" if bad else "ok"
        if not _is_lower(cell, best):
            got = f"raises AP to {cell.scores['oks/AP'].value}"
        found[case.id] = Found(got, True, f"{bad} {call.err}")
    return found


def _is_lower(cell: CellRecord, best: float) -> bool:
    value = cell.scores["oks/AP"].value
    return value == best if cell.model in HARMLESS else value < best
