"""Weight files."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import struct
import zipfile
from typing import Any

import numpy as np
import torch

from fault_suite.hostile.payload import Payload
from fault_suite.hostile.place import Found, Place, Wanted

_NET = '''\
import torch

from sapiens_bench.cards.options import Options
from sapiens_bench.models.parts.checkpoints import fill, open_state


class Nothing(Options):
    """No keys."""


class Net:
    Options = Nothing

    def __init__(self, context):
        with torch.device("meta"):
            self.net = torch.nn.Sequential(torch.nn.Linear(4, 3))
        fill(self.net, open_state(context.weights).state, context.weights)

    def prepare(self, x):
        raise RuntimeError("never asked")

    forward = finish = prepare
'''
_CARD = """\
schema: model/1
id: {name}-family
title: Hostile weights
task: pose
licence: {{name: MIT}}
wrapper: ./net.py:Net
space: coco17
trained_on: nothing
variants:
  - id: {name}
    title: Hostile weights
    weights: {{file: {file}, format: {format}, sha256: {sha256}, get: {{how: It is made by a test.}}}}
"""
CARRY_CODE = ("ckpt_raw_pickle", "ckpt_raw_pickle_p4", "ckpt_evil_zip", "ckpt_evil_legacy")
FITTED = {  # opened as a model's own -> what the refusal must say
    "ok": "", "numpy_scalar": "", "missing_key": "1 missing (0.bias)", "extra_key": "1 unexpected (more)",
    "wrong_shape": "1 of another shape (0.weight", "wrong_sha": "sha256",
}  # fmt: skip


def saved(content: Any, **options: Any) -> bytes:
    """The bytes that torch writes."""
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def tensors(header: dict[str, Any], data: bytes) -> bytes:
    """A safetensors file that says what it is told to."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def _deflated(data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            target.writestr(zipfile.ZipInfo(entry.filename), source.read(entry.filename), zipfile.ZIP_DEFLATED)
    return file.getvalue()


def _files(place: Place) -> dict[str, tuple[str, Wanted, bytes]]:
    """Name -> suffix, what is wanted, bytes."""
    state = {"0.weight": torch.arange(12.0).reshape(3, 4), "0.bias": torch.zeros(3)}
    payload, ok = Payload(place.canary), saved({"state_dict": state})
    other = bytearray(ok)
    other[ok.find(struct.pack("<f", 7.0)) + 3] ^= 0x40
    one, four = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, struct.pack("<f", 1.0)

    def pth(**changes: Any) -> bytes:
        return saved({"state_dict": {name: t for name, t in {**state, **changes}.items() if t is not None}})

    found: dict[str, tuple[Wanted, bytes]] = {
        "ok": ("ok", ok),
        "numpy_scalar": ("ok", saved({"state_dict": state, "meta": {"epoch": np.int64(3)}})),
        "raw_pickle": ("reject_file", pickle.dumps(payload, protocol=2)),
        "raw_pickle_p4": ("reject_file", pickle.dumps(payload, protocol=4)),
        "empty": ("reject_file", b""),
        "html": ("reject_file", b"<html>forbidden</html>"),
        "lfs_pointer": ("reject_file", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
        "evil_zip": ("reject_file", saved({"state_dict": state, "hook": payload})),
        "evil_legacy": (
            "reject_file", saved({"state_dict": state, "hook": payload}, _use_new_zipfile_serialization=False)
        ),
        "truncated": ("reject_file", ok[: len(ok) // 2]),
        "wrong_sha": ("reject_file", bytes(other)),
        "nan": ("reject_file", pth(**{"0.bias": torch.full((3,), torch.nan)})),
        "missing_key": ("reject_file", pth(**{"0.bias": None})),
        "extra_key": ("reject_file", pth(more=torch.zeros(2))),
        "wrong_shape": ("reject_file", pth(**{"0.weight": state["0.weight"].T.contiguous()})),
        "stride0": ("reject_file", pth(**{"0.weight": torch.zeros(1).expand(200_000, 200_000)})),
        "deflate_bomb": ("reject_file", _deflated(saved({"state_dict": {"0.weight": torch.zeros(50_000_000)}}))),
    }  # fmt: skip
    header: dict[str, tuple[Wanted, bytes]] = {
        "ok": ("ok", tensors({"w": one}, four)),
        "short_data": ("reject_file", tensors({"w": {**one, "shape": [1000, 1000]}}, four)),
        "overlap": ("reject_file", tensors({"a": one, "b": one}, four)),
        "trailing": ("reject_file", tensors({"w": one}, four + b"more")),
        "header_huge": ("reject_file", struct.pack("<Q", 2**62) + b"{}"),
        "truncated": ("reject_file", tensors({"w": one}, four)[:20]),
    }
    return {f"ckpt_{name}": (".pth", *rest) for name, rest in found.items()} | {
        f"st_{name}": (".safetensors", *rest) for name, rest in header.items()
    }


def make(place: Place) -> None:
    """Write them, and cards of a network of two tensors for those that only a network can judge."""
    folder, cards = place.root / "checkpoints", place.root / "checkpoint_cards"
    for made in (folder, cards):
        made.mkdir()
    (cards / "net.py").write_text(_NET)
    files = _files(place)
    for name, (suffix, wanted, data) in files.items():
        place.add(name, "checkpoint", wanted)
        (folder / f"{name}{suffix}").write_bytes(data)
        kind = name.removeprefix("ckpt_")
        if kind in FITTED:
            pinned = files["ckpt_ok"][2] if kind == "wrong_sha" else data
            sha256 = hashlib.sha256(pinned).hexdigest()
            card = _CARD.format(name=_id(name), file=f"{name}{suffix}", format="pth", sha256=sha256)
            (cards / f"{kind}.yaml").write_text(card)


def _id(name: str) -> str:
    return name.replace("_", "-")


def judge(place: Place) -> dict[str, Found]:
    """Check each: as the file of a model, or as a file."""
    found = {}
    for case in place.of("checkpoint"):
        (path,) = (place.root / "checkpoints").glob(f"{case.id}.*")
        if case.id.removeprefix("ckpt_") in FITTED:
            where = ("--cards", place.root / "checkpoint_cards", "--weights-root", place.root / "checkpoints")
            call = place.call("weights", "check", _id(case.id), *where)
        else:
            call = place.call("weights", "check", path)
        got = "ok" if call.code == 0 else "reject_file" if call.code in (2, 5) else f"exit {call.code}"
        if case.id in CARRY_CODE and call.code != 5:
            got = f"exit {call.code}, not 5"
        is_said = path.name in call.said and FITTED.get(case.id.removeprefix("ckpt_"), "") in call.err
        found[case.id] = Found(got, call.code == 0 or is_said, call.said)
    return found
