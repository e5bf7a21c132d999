"""Arrays: as predictions of dense tasks, one file a sample, and one as a label."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np

from fault_suite.hostile.payload import Payload
from fault_suite.hostile.pictures import outcomes
from fault_suite.hostile.place import Found, Place, Wanted

SHAPE = (24, 32)
ONE_SAMPLE = "in a folder of predictions a file is one sample: a miss that names the file, and the run goes on"
Files = dict[str, tuple[Wanted, Any]]  # an array, or the bytes of a file


def npy(array: Any, **options: Any) -> bytes:
    """The bytes of a .npy file."""
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def _depth(place: Place) -> Files:
    ramp = np.linspace(1, 3, SHAPE[0] * SHAPE[1], dtype=np.float32).reshape(SHAPE)
    holed = {value: np.where(np.arange(ramp.size).reshape(SHAPE) == 7, value, ramp) for value in (np.nan, np.inf)}
    code = np.empty(1, object)
    code[0] = Payload(place.canary)
    head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (500000, 500000), }".ljust(117) + b"\n"
    packed = io.BytesIO()
    np.savez_compressed(packed, a=np.zeros(100_000_000, np.uint8))
    return {
        "npy_ok": ("ok", ramp),
        "npy_pickle": ("row_error", npy(code, allow_pickle=True)),
        "npy_claims_1tb": ("row_error", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + bytes(16)),
        "npy_truncated": ("row_error", npy(ramp)[:800]),
        "npz_bomb": ("row_error", packed.getvalue()),
        "depth_nan_pixel": ("row_error", holed[np.nan]),
        "depth_inf_pixel": ("row_error", holed[np.inf]),
        "depth_zero": ("row_error", np.zeros(SHAPE, np.float32)),
        "depth_negative": ("row_error", -ramp),
        "depth_constant": ("ok", np.full(SHAPE, 2, np.float32)),
        "depth_wrong_size": ("row_error", ramp[:, :-3]),
        "depth_transposed": ("row_error", ramp.T),
        "depth_three_dims": ("ok", ramp[None, None]),
        "depth_text": ("row_error", np.full(SHAPE, "a")),
    }


def _normal() -> Files:
    facing = np.dstack([np.zeros(SHAPE), np.zeros(SHAPE), np.ones(SHAPE)]).astype(np.float32)
    holed = facing.copy()
    holed[3, 4] = 0
    return {
        "normal_ok": ("ok", facing),
        "normal_zero_vector": ("row_error", holed),
        "normal_unnormalised": ("ok", 2 * facing),
        "normal_channels_first": ("ok", facing.transpose(2, 0, 1)),
    }


def _seg() -> Files:
    labels = (np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE) % 28).astype(np.uint8)
    return {
        "seg_ok": ("ok", labels),
        "seg_label_out": ("row_error", np.where(labels == 5, 28, labels).astype(np.uint8)),
        "seg_negative": ("row_error", labels.astype(np.int16) - 1),
        "seg_float": ("row_error", labels + 0.5),
        "seg_all_ignore": ("row_error", labels),  # its truth is ignored everywhere
    }


def make(place: Place) -> None:
    """Write predictions and truths."""
    for task, files in {"depth": _depth(place), "normal": _normal(), "seg": _seg()}.items():
        sound = next(array for wanted, array in files.values() if wanted == "ok")
        for name, (wanted, content) in files.items():
            place.add(name, task, wanted, ONE_SAMPLE if name.startswith("np") and wanted != "ok" else "")
            truth = np.full(SHAPE, 255, np.uint8) if name == "seg_all_ignore" else sound
            suffix = ".npz" if name.startswith("npz") else ".npy"
            _save(place, f"arrays/{task}/truth/{name}.npy", npy(truth))
            data = content if isinstance(content, bytes) else npy(content)
            _save(place, f"arrays/{task}/given/{name}{suffix}", data)


def _save(place: Place, name: str, data: bytes) -> None:
    path = place.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def judge(place: Place) -> dict[str, Found]:
    """Score each task's folder."""
    found: dict[str, Found] = {}
    options = {
        "depth": ("--option", "depth_kind=metric_depth"),
        "normal": ("--data-option", "frame=viewer"),
        "seg": ("--space", "body28"),
    }
    for task, more in options.items():
        folder, out = place.root / "arrays" / task, place.root / "runs" / f"arrays-{task}"
        call = place.call(
            "score", "--task", task, "--truth", folder / "truth", folder / "given", "--out", out, "--n-boot", 0,
            "--max-errors", 1, *more,
        )  # fmt: skip
        if not (out / "rows").exists():
            found |= {case.id: Found(f"exit {call.code}", text=call.said) for case in place.of(task)}
            continue
        names = sorted(case.id for case in place.of(task))
        found |= dict(zip(names, outcomes(out), strict=True))
    return found
