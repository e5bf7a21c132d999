"""Readers of other people's files, each as a function of bytes that may refuse them and may do nothing else.

A target takes the bytes of one file and a folder to work in. It returns when the file was read, and raises a
``SapiensBenchError`` when it was refused; any other exception is a defect.
"""

from __future__ import annotations

import io
import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fault_suite.hostile.annotations import document
from fault_suite.hostile.cards import GOOD
from fault_suite.hostile.pictures import SIZE, encoded, scene
from sapiens_bench.adapters.coco.keypoints import CocoKeypoints
from sapiens_bench.adapters.context import DataContext
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.loading import load_card
from sapiens_bench.cards.options import read_options
from sapiens_bench.cards.schema import EvalProtocol, ModelCard
from sapiens_bench.cards.spaces import SourceSpace, identity_map
from sapiens_bench.errors import SampleFault, SapiensBenchError
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.predictions import Predictions
from sapiens_bench.models.result_files import points_of
from sapiens_bench.models.stored_options import StoredPosesOptions
from sapiens_bench.pixels.codecs import load_npy, load_npz, read_rgb
from sapiens_bench.pixels.dense_maps import Limits, read_label_map
from sapiens_bench.pixels.pfm import read_pfm
from sapiens_bench.render.materials import Coats, find_coats
from sapiens_bench.render.mesh import read_mesh
from sapiens_bench.store.record import CellRecord, RunRecord, ScoreRecord, read_run

OBJ = b"""mtllib scan.mtl
v 0 0 0
v 1 0 0.5
v 1 1 0
v 0 1 -1
vt 0 0
vt 1 0
vt 1 1
usemtl skin
f 1/1 2/2 3/3
f 1/1/ 3/3/ 4/2/
usemtl cloth
f -4/-3 -3/-2 -2/-1 -1/-1
"""
MTL = b"""newmtl skin
Kd 0.8 0.6 0.5
map_Kd -s 1 1 -o 0 0 -clamp on skin.png
newmtl cloth
Kd 0.1 0.2 0.3
map_Kd skin.png
"""
TOKENS = (b"\0", b"\xff\xfe", b"NaN", b"1e999", b"-1", b"9" * 400, b"[" * 400, b"{", b'"', b"\n", b"\r", b"../",
          b"null", b"*a", b"&a", b"!!python/name:os.system", b"/", b"1/", b"e", b" ", b"-mm 1", b"usemtl",
          b"\\")  # fmt: skip
Target = Callable[[bytes, Path], object]
PIXELS = 1_000_000  # what a larger picture takes says nothing about its file


@dataclass(frozen=True)
class Fuzzed:
    """A reader and sound files to begin from."""

    read: Target
    seeds: tuple[bytes, ...]


def read_card(data: bytes, folder: Path) -> object:
    """A card of a user."""
    return load_card(_written(folder / "card.yaml", data))


def read_annotations(data: bytes, folder: Path) -> object:
    """An annotation file, with every person in it."""
    _written(folder / "annotations.json", data)
    (folder / "pictures").mkdir(exist_ok=True)
    dataset = CocoKeypoints(_context(folder))
    for index in range(len(dataset)):
        _sample(lambda i=index: dataset.unseen(i))
    return dataset


def read_results(data: bytes, folder: Path) -> object:
    """A results file of poses, with the answer for every image."""
    path, index = _written(folder / "results.json", data), _truth(folder).index
    points_of(path)
    space = _catalog().space("coco17")
    given = (_RESULTS, _RESULTS.variants[0], path, {}, "cpu", "fp32", space, StoredPosesOptions())
    model, truth = Predictions(ModelContext(*given, index=index)), _truth(folder)
    for position in range(len(truth)):
        image = truth.unseen(position).input
        _sample(lambda x=image: model.finish({}, model.prepare(x).geometry))
    return model


def read_npy(data: bytes, folder: Path) -> object:
    """An array."""
    return load_npy(_written(folder / "a.npy", data))


def read_npz(data: bytes, folder: Path) -> object:
    """An archive of arrays, all of them."""
    return {name: np.array(array) for name, array in dict(load_npz(_written(folder / "a.npz", data))).items()}


def read_obj(data: bytes, folder: Path) -> object:
    """A mesh, whose faces must then name its vertices."""
    mesh = read_mesh(_written(folder / "scan.obj", data))
    assert mesh.faces_F3.size == 0 or 0 <= mesh.faces_F3.min() <= mesh.faces_F3.max() < len(mesh.vertices_V3)
    return mesh


def read_mtl(data: bytes, folder: Path) -> Coats:
    """The materials beside a mesh."""
    _written(folder / "scan.mtl", data)
    if not (folder / "skin.png").exists():
        Image.new("RGB", (4, 6)).save(folder / "skin.png")
    return find_coats(read_mesh(_written(folder / "scan.obj", OBJ)))


def read_picture(data: bytes, folder: Path) -> object:
    """A picture, as colours."""
    return read_rgb(_written(folder / "picture", data), max_pixels=PIXELS)


def read_labels(data: bytes, folder: Path) -> object:
    """A picture of labels."""
    return read_label_map(_written(folder / "labels.png", data), Limits(max_pixels=PIXELS))


def read_float_map(data: bytes, folder: Path) -> object:
    """A PFM file."""
    return read_pfm(_written(folder / "map.pfm", data), max_pixels=PIXELS)


def read_record(data: bytes, folder: Path) -> object:
    """The record of somebody's run."""
    return read_run(_written(folder / "run.json", data))


def _sample(read: Callable[[], object]) -> None:
    try:
        read()
    except SampleFault:
        return  # one image's fault: the others are read on


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@cache
def _catalog() -> Catalog:
    return Catalog.load()


def _context(folder: Path) -> DataContext:
    card, space = _catalog().dataset("coco-val2017"), _catalog().space("coco17")
    options = {"annotations": "annotations.json", "images": "pictures", "boxes": "gt"}
    protocol = EvalProtocol(task="pose", title="fuzzed", space="coco17", options=options, default=True)
    sources = {"coco17": SourceSpace(space, identity_map(space))}
    read = read_options(CocoKeypoints.Options, options, "the fuzzer")
    return DataContext(card, protocol, space, sources, folder, "", "", 0, read)


@cache
def _truth(folder: Path) -> CocoKeypoints:
    _written(folder / "annotations.json", json.dumps(document()).encode())
    (folder / "pictures").mkdir(exist_ok=True)
    (folder / "pictures/ok.jpg").write_bytes(encoded(scene(), "JPEG"))
    return CocoKeypoints(_context(folder))


_RESULTS = ModelCard.model_validate_json(json.dumps({
    "schema": "model/1", "id": "fuzzed", "title": "fuzzed", "task": "pose", "licence": {"name": "CC0-1.0"},
    "wrapper": "predictions", "space": "coco17", "trained_on": "nothing",
    "variants": [{"id": "fuzzed", "title": "fuzzed"}],
}))  # fmt: skip


def _array_bytes(save: Callable[..., None], *arrays: Any, **named: Any) -> bytes:
    file = io.BytesIO()
    save(file, *arrays, **named)
    return file.getvalue()


def _results() -> bytes:
    people = document()["annotations"]
    points = [[1.0 if k % 3 == 2 else v for k, v in enumerate(person["keypoints"])] for person in people]
    return json.dumps([{"image_id": a["image_id"], "category_id": 1, "score": 0.9, "keypoints": p}
                       for a, p in zip(people, points, strict=True)]).encode()  # fmt: skip


def _record() -> bytes:
    cell = CellRecord(task="pose", dataset="d", protocol="p", model="m", title="M", status="done")
    cell.scores = {"oks/AP": ScoreRecord(title="AP", value=0.5, low=0.4, high=0.6)}
    return RunRecord(status="done", task="pose", cells=[cell], notes=["a"]).model_dump_json(by_alias=True).encode()


_GREY = np.arange(SIZE[0] * SIZE[1], dtype=np.float32).reshape(SIZE)
TARGETS: Mapping[str, Fuzzed] = {
    "card": Fuzzed(read_card, (GOOD.encode(),)),
    "annotations": Fuzzed(read_annotations, (json.dumps(document()).encode(),)),
    "results": Fuzzed(read_results, (_results(),)),
    "npy": Fuzzed(read_npy, (_array_bytes(np.save, _GREY), _array_bytes(np.save, _GREY.astype(np.int16).T))),
    "npz": Fuzzed(read_npz, (_array_bytes(np.savez_compressed, a=_GREY, b=np.zeros(3)),)),
    "obj": Fuzzed(read_obj, (OBJ,)),
    "mtl": Fuzzed(read_mtl, (MTL,)),
    "picture": Fuzzed(read_picture, tuple(encoded(scene(), kind) for kind in ("JPEG", "PNG", "TIFF", "WEBP", "BMP"))),
    "labels": Fuzzed(read_labels, (encoded(scene().quantize(9), "PNG"), encoded(scene().convert("I;16"), "PNG"))),
    "pfm": Fuzzed(read_float_map, (b"Pf\n%d %d\n-1.0\n" % SIZE + _GREY.tobytes(),)),
    "record": Fuzzed(read_record, (_record(),)),
}


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The file with one change or a few: bits, bytes, cuts, doubled parts, words that mean something to a reader."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(changed) + 1)
        end = min(len(changed), at + rng.choice((1, 1, 2, 8, 64)))
        kind = rng.randrange(6)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(changed):
            changed[at] = rng.randrange(256)
        elif kind == 2:
            del changed[at:end]
        elif kind == 3:
            changed[at:at] = changed[at:end] * rng.choice((1, 2, 50))
        elif kind == 4:
            changed[at:end] = rng.choice(TOKENS)
        else:
            changed[at:at] = rng.choice(TOKENS)
    return bytes(changed[: rng.randrange(len(changed) + 1)] if rng.random() < 0.05 else changed)


def attempt(target: Fuzzed, data: bytes, folder: Path) -> bool:
    """Whether the file was read; False when it was refused. Anything else is raised."""
    try:
        target.read(data, folder)
    except SapiensBenchError:
        return False
    return True


def fuzzed(name: str, n: int, seed: int, folder: Path) -> dict[str, Any]:
    """``n`` mutated files through one target; the bytes of a crash are kept in ``folder`` as ``crash-NAME-SEED-K``."""
    target, rng = TARGETS[name], random.Random(f"{seed} {name}")
    read = slowest = 0.0
    crashes: list[str] = []
    for _ in range(n):
        data, began = mutated(rng.choice(target.seeds), rng), time.monotonic()
        try:
            read += attempt(target, data, folder)
        except Exception as error:
            crashes.append(f"{type(error).__name__}: {str(error)[:120]}")
            (folder / f"crash-{name}-{seed}-{len(crashes)}").write_bytes(data)
        slowest = max(slowest, time.monotonic() - began)
    return {"runs": n, "read": int(read), "crashes": len(crashes), "slowest_s": round(slowest, 2), "first": crashes[:3]}
