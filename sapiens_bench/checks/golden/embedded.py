"""Fixtures ``embedded/``: the shipped networks beside the outputs of their own runtimes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import sapiens_bench.embedded
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.locate import weight_files
from sapiens_bench.checks.golden.check import Check, Fixture, compare, failed, given, load
from sapiens_bench.errors import WeightsMissing
from sapiens_bench.models.movenet import MoveNetPose
from sapiens_bench.models.parts.graph import Graph, load_graph

MOVENET_PX, MOVENET_SCORE = 1e-3, 1e-5
LANDMARK_PX, MASK_LOGIT, PROBABILITY, WORLD_M = 0.1, 0.05, 1e-3, 1e-3
NOISE_FACTOR = 10  # on pure noise the landmark networks amplify float32 rounding; the tolerances are for photographs
# Mask logits reach 1600; beyond this their own float32 rounding exceeds the tolerance, and a sigmoid is 0 or 1 anyway.
SATURATED_LOGIT = 20.0
VARIANTS = {
    "pose_landmark_lite": "blazepose-lite",
    "pose_landmark_full": "blazepose-full",
    "pose_landmark_heavy": "blazepose-heavy",
}


def network(variant: str, catalog: Catalog, weights_root: Path | None) -> Graph:
    """The network of a shipped variant.

    Raises:
        WeightsMissing: not shipped and not under ``weights_root``.
    """
    files = weight_files(catalog.model(variant).variant, weights_root)
    if files.path is None:
        raise WeightsMissing(f"{variant} names no weight file")
    return load_graph(files.path)


def movenet_checks(path: Path, catalog: Catalog, weights_root: Path | None) -> Iterator[Check]:
    """Raw keypoints (pixels of the square) and scores of MoveNet."""
    z = load(path)
    for variant, image in sorted({tuple(key.split("/")[:2]) for key in z}):
        model = MoveNetPose(network(variant, catalog, weights_root)).eval()
        pixels, theirs = z[f"{variant}/{image}/input"], z[f"{variant}/{image}/yx_score"]
        size = given(lambda p: p.shape[0], pixels)
        with torch.inference_mode():
            ours = given(lambda p, m=model: m(torch.from_numpy(p)[None].permute(0, 3, 1, 2).float())[0].numpy(), pixels)
        item = f"movenet/{variant}/{image}"
        in_px = [given(lambda yx, n: yx[:, :2] * n, found, size) for found in (ours, theirs)]
        yield compare(f"{item}/yx_px", in_px[0], in_px[1], MOVENET_PX)
        scores = [given(lambda yx: yx[:, 2], found) for found in (ours, theirs)]
        yield compare(f"{item}/score", scores[0], scores[1], MOVENET_SCORE)


def tflite_checks(path: Path, catalog: Catalog, weights_root: Path | None) -> Iterator[Check]:
    """Raw outputs of BlazePose and of the selfie segmentation network."""
    z = load(path)
    for model in sorted({k.split("/")[0] for k in z} - {"input"}):
        images = sorted({k.split("/")[1] for k in z if k.startswith(f"{model}/")})
        try:
            name = "selfie-segmentation" if model == "selfie_segmentation" else VARIANTS[model]
            net = _selfie() if name == "selfie-segmentation" else network(name, catalog, weights_root)
        except KeyError:
            yield failed(f"tflite/{model}", "a network that this version does not know")
            continue
        except WeightsMissing as missing:
            note = f"not compared: {str(missing).splitlines()[0]}"
            yield Check(f"tflite/{model}", 0.0, 0.0, note, skipped=True)
            continue
        for image in images:
            outputs = given(lambda p, run=net: _outputs(run, p), z[f"input/{image}"])
            if name == "selfie-segmentation":
                mask = z[f"{model}/{image}/mask"]
                ours = given(lambda o, m: o["mask"].reshape(m.shape), outputs, mask)
                yield compare(f"tflite/{model}/{image}/mask", ours, mask, PROBABILITY)
            else:
                yield from _landmark_checks(f"{model}/{image}", outputs, z)


def _outputs(net: Graph, pixels: NDArray[np.uint8]) -> Fixture:
    with torch.inference_mode():
        x = torch.from_numpy(pixels)[None].permute(0, 3, 1, 2).float() / 255
        return Fixture({k: v.numpy() for k, v in net(x).items()})


def _landmark_checks(key: str, ours: Any, z: Fixture) -> Iterator[Check]:
    """``ours``: a Fixture, or what is absent of its input."""
    item = f"tflite/{key}"
    factor = NOISE_FACTOR if key.endswith("/noise") else 1
    theirs, landmarks = z[f"{key}/landmarks"], given(lambda o: o["landmarks"].reshape(39, 5), ours)
    for name, part, tolerance in (
        ("landmarks", slice(None, 3), factor * LANDMARK_PX),
        ("landmark_logits", slice(3, None), factor * MASK_LOGIT),
    ):
        pair = [given(lambda values, part=part: values[:, part], found) for found in (landmarks, theirs)]
        yield compare(f"{item}/{name}", pair[0], pair[1], tolerance)
    presence = given(lambda o: o["presence"].reshape(1), ours)
    yield compare(f"{item}/presence", presence, z[f"{key}/presence"], PROBABILITY)
    world = given(lambda o: o["world"].reshape(39, 3), ours)
    yield compare(f"{item}/world", world, z[f"{key}/world"], WORLD_M)
    wanted = z[f"{key}/mask_logits"]
    open_ = given(lambda logits: np.abs(logits) < SATURATED_LOGIT, wanted)
    found = given(lambda o, where: o["mask_logits"][0, 0, ::2, ::2][where], ours, open_)
    wanted = given(lambda logits, where: logits[where], wanted, open_)
    yield compare(f"{item}/mask_logits", found, wanted, factor * MASK_LOGIT, "logits within +-20")


def _selfie() -> Graph:
    return load_graph(Path(sapiens_bench.embedded.__file__).parent / "selfie_segmentation.safetensors")
