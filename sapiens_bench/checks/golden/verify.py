"""Walk a folder of fixtures, run every item that it holds, and refuse what is not known.

Layouts are recognised by file name, so any part of the tree may be given: the whole collection, one suite
(``sapiens-v1``, ``embedded``), or one of its folders.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.checks.golden import baselines_dense, baselines_pose, embedded, sapiens_codec, sapiens_models
from sapiens_bench.checks.golden.check import Absent, Check, Fixture, compare, failed, given, skipped
from sapiens_bench.checks.golden.pose_metrics import SETS, TOLERANCE, GoldenItem, evaluation_items, nms_items
from sapiens_bench.errors import DataMissing, SapiensBenchError

POSE = re.compile(r"^pose\d+$")
# Files that belong to another item and need no line of their own.
COMPANIONS = re.compile(
    r"(README\.md|config\.json|.*\.safetensors|(coco17|wholebody133|goliath308)_(gt|pred|official_results)\.json"
    r"|(seg_labels|depth_maps|losses)\.npz|(manifest|cards|preprocessor_config|vitpose_plus_official_tiny)\.json"
    r"|(sapiens2_tiny_(pose|seg|normal|pointmap)|pifuhd_netF_tiny)\.json"
    r"|image\.png|pose_simcc_tiny\.onnx|dense_\w+_tiny(_torchscript|_export)?\.(onnx|pt2))$"
)


def verify(folder: Path, catalog: Catalog, weights_root: Path | None = None) -> Iterator[Check]:
    """Every check of every fixture below ``folder``, in path order.

    Raises:
        DataMissing: no such folder, or nothing in it.
    """
    if not folder.is_dir():
        raise DataMissing(f"{folder} is not a folder. Give one that holds fixtures, e.g. golden/sapiens-v1.")
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    if not files:
        raise DataMissing(f"{folder} is empty.")
    for path in files:
        run = handler(path, catalog, weights_root)
        where = f"{path.parent.relative_to(folder).as_posix()}/" if path.parent != folder else ""
        if run is None:
            if not COMPANIONS.match(path.name):
                yield failed(f"{where}{path.name}", "an item that this version does not know")
            continue
        n_compared = 0
        try:
            for check in run():
                n_compared += not check.skipped
                yield replace(check, item=f"{where}{check.item}")
        except (SapiensBenchError, KeyError, ValueError, OSError, RuntimeError) as error:
            yield failed(f"{where}{path.name}", f"{type(error).__name__}: {error}")
            continue
        if not n_compared:
            yield failed(f"{where}{path.name}", "nothing of it could be compared")


def handler(path: Path, catalog: Catalog, weights_root: Path | None) -> Callable[[], Iterable[Check]] | None:
    """What runs the fixture ``path``, or None when the file is none of its own."""
    folder, stem = path.parent, path.stem
    if path.suffix == ".npz":
        if stem == "encoder_pretrain":
            return lambda: sapiens_models.encoder_checks(folder, stem)
        if POSE.match(stem):
            return lambda: sapiens_models.pose_checks(folder, stem, catalog)
        if stem in ("seg", "depth", "normal"):
            return lambda: sapiens_models.dense_checks(folder, stem, catalog)
        if stem == "lite_pose_preprocess":
            return lambda: sapiens_models.lite_pose_checks(folder, stem, catalog)
        if stem == "udp_codec":
            return lambda: sapiens_codec.udp_checks(folder, stem)
        if stem == "bbox_affine":
            return lambda: sapiens_codec.affine_checks(folder, stem)
        if stem == "movenet":
            return lambda: embedded.movenet_checks(path, catalog, weights_root)
        if stem == "tflite":
            return lambda: embedded.tflite_checks(path, catalog, weights_root)
        if pose_baseline := _pose_baseline(path, catalog):
            return pose_baseline
    if path.suffix == ".npz" and (dense := _dense_baseline(path)):
        return dense
    if path.name == "oks_nms.json":
        return lambda: map(_pose_check, nms_items(path))
    if path.name == "layer_decay.json":
        return lambda: sapiens_codec.layer_decay_checks(path)
    if path.name == "expected.json":
        return lambda: _evaluation(folder, catalog)
    return None


def _pose_baseline(path: Path, catalog: Catalog) -> Callable[[], Iterable[Check]] | None:
    folder, stem = path.parent, path.stem
    if stem == "vitpose_plus_official_tiny_io":
        return lambda: baselines_pose.vitpose_official_checks(folder, stem)
    if stem == "vitpose_hf_moe_io":
        return lambda: baselines_pose.vitpose_hub_checks(folder, stem, catalog)
    if stem == "pose_decode":
        return lambda: baselines_pose.decode_checks(folder, stem)
    if stem == "simcc":
        return lambda: baselines_pose.simcc_checks(folder, stem, catalog)
    if stem == "pose_simcc_tiny_io":
        return lambda: baselines_pose.simcc_network_checks(folder, stem, catalog)
    return None


def _dense_baseline(path: Path) -> Callable[[], Iterable[Check]] | None:
    checks = {
        "depth_anything_io": baselines_dense.depth_anything_checks,
        "segformer_io": baselines_dense.segformer_checks,
        "mask2former_io": baselines_dense.mask2former_checks,
        "sapiens2_tiny_io": baselines_dense.sapiens2_checks,
        "sapiens2_processor": baselines_dense.sapiens2_processor_checks,
        "pifuhd_netF_tiny_io": baselines_dense.pifuhd_checks,
        "dense_export_io": baselines_dense.export_checks,
    }
    run = checks.get(path.stem)
    return None if run is None else lambda: run(path.parent, path.stem)


def _evaluation(folder: Path, catalog: Catalog) -> Iterator[Check]:
    """Every part of ``expected.json`` whose inputs are there."""
    expected: dict[str, Any] = json.loads((folder / "expected.json").read_text())
    for name in SETS:
        if name in expected:
            yield from _if_there(name, partial(_pose_set, folder, catalog, name))
    parts = {"seg": sapiens_codec.seg_checks, "depth": sapiens_codec.depth_checks, "losses": sapiens_codec.loss_checks}
    for key, checks in parts.items():
        if key in expected:
            yield from _if_there(key, partial(checks, folder, expected))
    if "goliath_to_wholebody" in expected:
        yield from conversion_checks(Fixture(expected["goliath_to_wholebody"]), catalog)
    known = {*parts, *SETS, "goliath_to_wholebody"}
    for key in sorted(set(expected) - known):
        yield failed(f"expected.json/{key}", "an item that this version does not know")


def _pose_set(folder: Path, catalog: Catalog, name: str) -> Iterator[Check]:
    yield from map(_pose_check, evaluation_items(folder, catalog.spaces, (name,)))


def _if_there(item: str, checks: Callable[[], Iterable[Check]]) -> Iterator[Check]:
    """The checks; one that is skipped in the place of those that need a file which is not there."""
    try:
        yield from checks()
    except FileNotFoundError as error:
        yield skipped(item, Absent(Path(str(error.filename)).name))
    except DataMissing as error:
        yield skipped(item, Absent(str(error).partition(" not found")[0].rpartition("/")[2]))


def _pose_check(item: GoldenItem) -> Check:
    return Check(item.name, item.difference, TOLERANCE)


def conversion_checks(expected: Fixture, catalog: Catalog) -> Iterator[Check]:
    """The official 308 -> 133 conversion: 53 points by name, zeros elsewhere."""
    whole, subset = catalog.space("coco-wholebody133"), catalog.space("wb53")
    index = catalog.space_map("goliath308", "wb53").index
    places = [whole.names.index(name) for name in subset.names]
    pairs = {str(place): int(source) for place, source in zip(places, index, strict=True)}
    wrong = given(lambda stored: len(set(pairs.items()) ^ {(str(k), int(v)) for k, v in stored.items()}),
                  expected["mapping"])  # fmt: skip
    yield compare("goliath_to_wholebody/mapping", wrong, 0, 0)

    def filled(source: Any, shape: tuple[int, ...]) -> Any:
        ours = np.zeros(shape)
        ours[places] = np.asarray(source)[index]
        return ours

    for key, shape in (("keypoints", (len(whole.names), 2)), ("scores", (len(whole.names),))):
        ours = given(filled, expected[f"{key}308"], shape)
        yield compare(f"goliath_to_wholebody/{key}133", ours, expected[f"{key}133"], 1e-9)
