"""Fixtures ``embedded/``: the shipped networks beside the outputs of their own runtimes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

import sapiens_bench.embedded
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.locate import weight_files
from sapiens_bench.checks.golden.check import Check, compare, failed
from sapiens_bench.checks.golden.sapiens_models import Arrays, load
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
    for key in sorted(k for k in z if k.endswith("/input")):
        variant, image, _ = key.split("/")
        model = MoveNetPose(network(variant, catalog, weights_root)).eval()
        size = z[key].shape[0]
        with torch.inference_mode():
            x = torch.from_numpy(z[key])[None].permute(0, 3, 1, 2).float()
            ours = model(x)[0].numpy()
        theirs = z[f"{variant}/{image}/yx_score"]
        item = f"movenet/{variant}/{image}"
        yield compare(f"{item}/yx_px", ours[:, :2] * size, theirs[:, :2] * size, MOVENET_PX)
        yield compare(f"{item}/score", ours[:, 2], theirs[:, 2], MOVENET_SCORE)


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
            yield Check(f"tflite/{model}", 0.0, 0.0, f"not compared: {str(missing).splitlines()[0]}")
            continue
        for image in images:
            with torch.inference_mode():
                x = torch.from_numpy(z[f"input/{image}"])[None].permute(0, 3, 1, 2).float() / 255
                outputs = {k: v.numpy() for k, v in net(x).items()}
            if name == "selfie-segmentation":
                mask = z[f"{model}/{image}/mask"]
                yield compare(f"tflite/{model}/{image}/mask", outputs["mask"].reshape(mask.shape), mask, PROBABILITY)
            else:
                yield from _landmark_checks(f"{model}/{image}", outputs, z)


def _landmark_checks(key: str, ours: Arrays, z: Arrays) -> Iterator[Check]:
    item = f"tflite/{key}"
    landmarks, theirs = ours["landmarks"].reshape(39, 5), z[f"{key}/landmarks"]
    factor = NOISE_FACTOR if key.endswith("/noise") else 1
    yield compare(f"{item}/landmarks", landmarks[:, :3], theirs[:, :3], factor * LANDMARK_PX)
    yield compare(f"{item}/landmark_logits", landmarks[:, 3:], theirs[:, 3:], factor * MASK_LOGIT)
    yield compare(f"{item}/presence", ours["presence"].reshape(1), z[f"{key}/presence"], PROBABILITY)
    yield compare(f"{item}/world", ours["world"].reshape(39, 3), z[f"{key}/world"], WORLD_M)
    wanted = z[f"{key}/mask_logits"]
    found = ours["mask_logits"][0, 0, ::2, ::2]
    open_ = np.abs(wanted) < SATURATED_LOGIT
    yield compare(f"{item}/mask_logits", found[open_], wanted[open_], factor * MASK_LOGIT, "logits within +-20")


def _selfie() -> Graph:
    return load_graph(Path(sapiens_bench.embedded.__file__).parent / "selfie_segmentation.safetensors")
