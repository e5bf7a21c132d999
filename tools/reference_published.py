"""Published tables, one card each, with every cell of the reference file; nothing is dropped.

A printed table is cut into entries where it mixes data sets or protocols, so that a result is only ever compared with
numbers of its own protocol.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from reference_spaces import words

Json = dict[str, Any]

POSE_KEYS = {
    "oks/AP": "whole_ap", "oks/AR": "whole_ar", "oks/body/AP": "body_ap", "oks/body/AR": "body_ar",
    "oks/foot/AP": "foot_ap", "oks/foot/AR": "foot_ar", "oks/face/AP": "face_ap", "oks/face/AR": "face_ar",
    "oks/hand/AP": "hand_ap", "oks/hand/AR": "hand_ar", "oks/left_hand/AP": "left_hand_ap",
    "oks/left_hand/AR": "left_hand_ar", "oks/right_hand/AP": "right_hand_ap", "oks/right_hand/AR": "right_hand_ar",
}  # fmt: skip
COCO_KEYS = {f"oks/{k}": k.lower() for k in words("AP AP50 AP75 APM APL AR AR50 AR75 ARM ARL")}
FEET_KEYS = POSE_KEYS | {"oks/foot/AP": "feet_ap", "oks/foot/AR": "feet_ar"}
SEG_KEYS = {"seg/miou": "miou", "seg/macc": "macc"}


def depth_keys(prefix: str) -> dict[str, str]:
    """Our depth scores -> cells with this prefix."""
    return {"depth/rmse": f"{prefix}_rmse", "depth/abs_rel": f"{prefix}_absrel", "depth/delta1": f"{prefix}_delta1"}


def normal_keys(prefix: str = "") -> dict[str, str]:
    """Our normal scores -> cells with this prefix."""
    shares = {f"normal/below_{t}": f"{prefix}within_{t}" for t in ("5", "11_25", "22_5", "30")}
    return {"normal/mean_deg": f"{prefix}mean_deg", "normal/median_deg": f"{prefix}median_deg"} | shares


@dataclass(frozen=True)
class Cut:
    """One entry: which columns (by prefix) and rows (by prefix) of a table, under which protocol."""

    id: str
    dataset: str = ""
    metrics: dict[str, str] = field(default_factory=dict)
    columns: tuple[str, ...] = ("",)
    rows: tuple[str, ...] = ("",)
    protocol: str = ""  # replaces what the table says about boxes, detector or source
    scale: dict[str, float] = field(default_factory=dict)  # of scores printed in another unit than per cent


_SAPIENS_BOXES = "bbox: COCO_val2017_detections_AP_H_70_person.json (rows of the Sapiens models)"
_DET56 = "bbox: person detections with AP 56 on COCO val2017 (README and released configs of these models)"
_QUOTED = "bbox: other detectors, not stated; the authors' quotation of other papers"
POINTMAP_KEYS = {"pointmap/l2": "l2", "pointmap/rmse": "rmse", "pointmap/mae_x": "abs_x_e3",
                 "pointmap/mae_y": "abs_y_e3", "pointmap/mae_z": "abs_z_e2"}  # fmt: skip
# As the header of the table says. Mean distances must lie between the largest of the three axes and their sum; read
# so, MoGe's and Sapiens2's do, those of the other rows are a little below (see the notes of the table).
POINTMAP_SCALE = {"pointmap/l2": 0.1, "pointmap/rmse": 0.1, "pointmap/mae_x": 0.001, "pointmap/mae_y": 0.001,
                  "pointmap/mae_z": 0.01}  # fmt: skip
CUTS: dict[str, list[Cut]] = {
    "sapiens1-t3": [Cut("sapiens1-t3-humans-5k", "humans-5k", POSE_KEYS)],
    "sapiens1-t4": [Cut("sapiens1-t4-humans-2k", "humans-2k", SEG_KEYS)],
    "sapiens1-t5": [
        Cut("sapiens1-t5-hi4d", "hi4d", depth_keys("hi4d"), ("hi4d_",)),
        *(Cut(f"sapiens1-t5-thuman2-{part}", f"thuman2 ({part})", depth_keys(f"thuman_{part}"), (f"thuman_{part}_",))
          for part in ("face", "upper", "full")),
    ],
    "sapiens1-t6": [
        Cut("sapiens1-t6-hi4d", "hi4d", normal_keys("hi4d_"), ("hi4d_",)),
        Cut("sapiens1-t6-thuman2", "thuman2", normal_keys("thuman_"), ("thuman_",)),
    ],
    "sapiens1-repo-cocowb": [
        Cut("sapiens1-repo-cocowb", "coco-wholebody-val", FEET_KEYS, rows=("Sapiens",), protocol=_SAPIENS_BOXES),
        Cut("sapiens1-repo-cocowb-det56", "coco-wholebody-val", FEET_KEYS, rows=("ViTPose", "DWPose"), protocol=_DET56),
        Cut("sapiens1-repo-cocowb-quoted", "coco-wholebody-val", FEET_KEYS, protocol=_QUOTED),
    ],
    "sapiens1-repo-coco": [
        Cut("sapiens1-repo-coco", "coco-val2017", COCO_KEYS, rows=("Sapiens",), protocol=_SAPIENS_BOXES),
        Cut("sapiens1-repo-coco-det56", "coco-val2017", COCO_KEYS, rows=("ViTPose",), protocol=_DET56),
        Cut("sapiens1-repo-coco-quoted", "coco-val2017", COCO_KEYS, protocol=_QUOTED),
    ],
    "sapiens1-checkpoints": [
        Cut("sapiens1-checkpoints-coco17", "coco-val2017", {"oks/AP": "coco17_ap"}, ("coco17_",)),
        Cut("sapiens1-checkpoints-cocowb133", "coco-wholebody-val", {"oks/AP": "cocowb133_ap"}, ("cocowb133_",)),
        Cut("sapiens1-checkpoints-goliath308", "humans-5k", {"oks/AP": "goliath308_ap"}, ("goliath308_",)),
        Cut("sapiens1-checkpoints-seg28", "humans-2k", {"seg/miou": "goliath_seg_miou"}, ("goliath_seg_",)),
    ],
    "sapiens2-t3": [Cut("sapiens2-t3-pose308", "", {"oks/AP": "map", "oks/AR": "mar"})],
    "sapiens2-t4": [Cut("sapiens2-t4-seg29", "", SEG_KEYS)],
    "sapiens2-t5": [Cut("sapiens2-t5", "", POINTMAP_KEYS, scale=POINTMAP_SCALE)],
    "sapiens2-t6": [Cut("sapiens2-t6-normal", "", normal_keys())],
    "sapiens2-t7": [Cut("sapiens2-t7", "", {f"albedo/{k}": k for k in ("mae", "rmse", "psnr", "ssim", "grad_l1")})],
    "sapiens2-t8": [Cut("sapiens2-t8-pose308", "", POSE_KEYS)],
}  # fmt: skip
PER_CENT = ("oks/", "seg/", "normal/below_")
TABLE_KEYS = {"id", "paper", "table", "status", "dataset", "split_size", "caption", "protocol", "metrics", "rows",
              "notes", "printed_gains"}  # fmt: skip


def said(value: Any) -> str:
    """A nested value as one line of text."""
    if isinstance(value, dict):
        return "; ".join(f"{k}: {said(v)}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(said(v) for v in value)
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def published_cards(reference: Json) -> dict[str, Json]:
    """File name (without suffix) -> card, for every table of the reference."""
    return {file_name(table): table_card(table, reference["sources"]) for table in reference["tables"]}


def file_name(table: Json) -> str:
    """``<paper>_table<n>``; tables without a number are named after where they were printed."""
    paper = "sapiens2" if table["paper"] == "sapiens2" else "sapiens1"
    part = table["id"].split("-", 1)[1]
    number = {"t": "table", "f": "figure"}.get(part[0]) if part[1:].isdigit() else None
    return f"{paper}_{number}{part[1:]}" if number else f"{paper}_{part.replace('-', '_')}"


def table_card(table: Json, sources: Json) -> Json:
    """One printed table."""
    unknown = set(table) - TABLE_KEYS
    if unknown:
        raise SystemExit(f"{table['id']}: keys without a place: {sorted(unknown)}")
    used = {s for row in table["rows"] for cell in row["values"].values() if cell for s in cell["source"]}
    notes = [f"{key}: {said(table[key])}" for key in ("status", "split_size", "printed_gains") if key in table]
    left = {(row["model"], key) for row in table["rows"] for key in row["values"]}
    entries = [entry(table, cut, left) for cut in CUTS.get(table["id"], [Cut(table["id"])])]
    if left:
        raise SystemExit(f"{table['id']}: cells without an entry: {sorted(left)[:3]}")
    return {
        "schema": "published/1", "id": table["id"], "paper": table["paper"], "table": str(table["table"]),
        "caption": table["caption"], "sources": {k: v for k, v in sources.items() if k in used},
        "notes": [*notes, *table.get("notes", [])], "entries": entries,
    }  # fmt: skip


def entry(table: Json, cut: Cut, left: set[tuple[str, str]]) -> Json:
    """The cells of one cut; they are taken out of ``left``."""
    rows: dict[str, Json] = {}
    attributes: dict[str, dict[str, str]] = {}
    for row in table["rows"]:
        mine = [k for k in row["values"] if k.startswith(cut.columns) and (row["model"], k) in left]
        if not mine or not row["model"].startswith(cut.rows):
            continue
        left.difference_update((row["model"], key) for key in mine)
        rows[row["model"]] = {key: cell(row["values"][key]) for key in mine}
        extra = {k: said(v) for k, v in row.items() if k not in ("model", "values") and v is not None}
        if extra:
            attributes[row["model"]] = extra
    columns = {key for row in rows.values() for key in row}
    metrics = {ours: theirs for ours, theirs in cut.metrics.items() if theirs in columns}
    protocol = {k: v for k, v in table.get("protocol", {}).items() if not (cut.protocol and k == "bbox")}
    parts = [cut.protocol, said(protocol)]
    if cut.protocol and "bbox" in table.get("protocol", {}):
        parts.append(f"the table says of boxes: {table['protocol']['bbox']}")
    facts = [m for m in table["metrics"] if m["key"] in columns]
    return {
        "id": cut.id, "dataset": cut.dataset or said(table.get("dataset", "none")),
        "protocol": "; ".join(p for p in parts if p) or "not stated",
        "metrics": metrics, "units": {m["key"]: m["unit"] for m in facts},
        "directions": {m["key"]: m["direction"] for m in facts}, "row_attributes": attributes,
        "scale": {ours: 0.01 for ours in metrics if ours.startswith(PER_CENT)} | cut.scale, "rows": rows,
    }  # fmt: skip


def cell(value: Any) -> Json | None:
    """A printed value with its evidence; null stays null."""
    if value is None:
        return None
    printed = value["value"]
    if not isinstance(printed, int | float | str) or isinstance(printed, bool):
        printed = said(printed)
    unknown = set(value) - {"value", "confidence", "source", "note"}
    if unknown:
        raise SystemExit(f"a cell has keys without a place: {sorted(unknown)}")
    kept = {"value": printed, "confidence": value["confidence"], "source": list(value["source"])}
    return kept | ({"note": value["note"]} if "note" in value else {})


def published_notes(reference: Json) -> str:
    """README of the folder: what holds for all tables and belongs to none."""
    lines = ["# Published numbers", "", reference["about"], "",
             "Written by `tools/convert_reference.py`. One file per printed table; `null` means the value was not "
             "recovered, never that it is zero.", "", "## Confidence", ""]  # fmt: skip
    lines += [f"- **{k}**: {v}" for k, v in reference["confidence_levels"].items()]
    for title, key in (("How to print", "how_to_print"), ("Known inconsistencies", "known_inconsistencies"),
                       ("Claims that were rejected", "rejected_claims")):  # fmt: skip
        lines += ["", f"## {title}", "", *(f"- {text}" for text in reference[key])]
    lines += ["", "## Sources", "", *(f"- **{k}**: {v}" for k, v in reference["sources"].items())]
    columns = ["dataset", "metric", "ours", "baseline", "baseline_value", "stated_gain", "check"]
    lines += ["", "## Gains as first stated, checked", "", "| " + " | ".join(columns) + " |", "|---" * 7 + "|"]
    for row in reference["seed_rows"]:
        lines.append("| " + " | ".join("not recovered" if row[c] is None else str(row[c]) for c in columns) + " |")
    return "\n".join(lines) + "\n"
