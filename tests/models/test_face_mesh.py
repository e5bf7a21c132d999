"""The face row: a known surface's normals, the floor where there is no face, and the face where there is one."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import sapiens_bench.embedded
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.dense_options import FaceMeshOptions
from sapiens_bench.models.face_mesh import BODY, MASK, FaceMesh
from sapiens_bench.models.parts.face_surface import (
    CHIN,
    FOREHEAD,
    LEFT_EYE,
    RIGHT_EYE,
    frontal_triangles,
    surface_normals,
)
from sapiens_bench.tasks.normal.floors import inflated
from sapiens_bench.tasks.normal.types import NormalPrediction
from sapiens_bench.types import ModelInput

EMBEDDED = Path(sapiens_bench.embedded.__file__).parent


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def ball(turned_deg: float = 0.0) -> np.ndarray:
    """468 points of the front of a ball of 40 px about (60, 50), turned about its own vertical axis."""
    rng = np.random.default_rng(0)
    flat = rng.uniform(-0.7, 0.7, (468, 2))
    flat[RIGHT_EYE], flat[LEFT_EYE], flat[FOREHEAD], flat[CHIN] = (-0.6, 0), (0.6, 0), (0, -0.69), (0, 0.69)
    front = np.column_stack([flat, -np.sqrt(1 - (flat**2).sum(1).clip(0, 0.98))])
    c, s = np.cos(np.radians(turned_deg)), np.sin(np.radians(turned_deg))
    return front @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]).T * 40 + (60, 50, 0)


def test_the_surface_of_a_balls_points_has_the_balls_normals() -> None:
    normals, seen = surface_normals(ball(), (100, 120))
    y, x = np.mgrid[:100, :120]
    dx, dy = (x - 60) / 40, (y - 50) / 40
    inner = seen & (np.abs(dx) < 0.55) & (np.abs(dy) < 0.55)
    wanted = np.stack([dx, -dy, np.sqrt((1 - dx**2 - dy**2).clip(0))], -1)
    degrees = np.degrees(np.arccos((normals * wanted).sum(-1).clip(-1, 1)))
    assert inner.sum() > 1500
    assert degrees[inner].mean() < 4
    assert np.allclose(np.linalg.norm(normals[seen], axis=-1), 1, atol=1e-5)


def test_turning_the_head_keeps_neighbours_and_picks_the_nearer_side() -> None:
    straight, turned = (frontal_triangles(ball(angle)) for angle in (0, 50))
    same = {tuple(sorted(t)) for t in straight.tolist()} & {tuple(sorted(t)) for t in turned.tolist()}
    assert len(same) > 0.9 * len(straight)
    normals, seen = surface_normals(ball(50), (100, 120))
    assert (normals[..., 2][seen] > -0.2).mean() > 0.95  # what is seen faces the viewer


def test_points_that_span_no_face_give_no_surface() -> None:
    for points in (np.zeros((468, 3)), np.full((468, 3), np.nan)):
        normals, seen = surface_normals(points, (8, 8))
        assert not seen.any()
        assert not normals.any()


@pytest.fixture(scope="module")
def model() -> FaceMesh:
    entry = Catalog.load().model("face-mesh-normal")
    further = {name: EMBEDDED / name for name in (BODY, MASK)}
    files = EMBEDDED / "face_landmark.safetensors"
    return FaceMesh(ModelContext(entry.card, entry.variant, files, further, "cpu", "fp32", None, FaceMeshOptions()))


def answer(model: FaceMesh, image: np.ndarray) -> tuple[NormalPrediction, dict[str, np.ndarray]]:
    height, width = image.shape[:2]
    box = np.array([[-0.5, -0.5, width - 0.5, height - 0.5]], np.float32)
    prepared = model.prepare(ModelInput("x", image, box, np.ones(1, np.float32)))
    with torch.inference_mode():
        out = model.forward({name: torch.from_numpy(array) for name, array in prepared.tensors.items()})
    arrays = {name: tensor.numpy() for name, tensor in out.items()}
    return model.finish(arrays, prepared.geometry), arrays


def test_a_picture_without_a_face_gets_the_floor(model: FaceMesh) -> None:
    image = np.full((80, 60, 3), 128, np.uint8)
    found, arrays = answer(model, image)
    assert arrays["presence"][0] < 0.5
    mask = model.silhouette.probability(arrays, (80, 60)) >= 0.5
    assert (found.normals_HW3 == inflated(mask).normals_HW3).all()


def test_the_face_of_a_photograph_replaces_the_floor_there_alone(model: FaceMesh, shared: Path) -> None:
    path = next(iter(sorted((shared / "data" / "coco").rglob("*.jpg"))))
    bgr = cv2.imread(str(path))
    assert bgr is not None
    rendered = np.ascontiguousarray(bgr[..., ::-1])
    _, arrays = answer(model, rendered)
    arrays["presence"] = np.ones(1, np.float32)
    arrays["points"] = ball()[None].astype(np.float32)  # in pixels of the first crop
    prepared = model.prepare(ModelInput("x", rendered, np.zeros((1, 4), np.float32), np.ones(1, np.float32)))
    found = model.finish(arrays, prepared.geometry).normals_HW3
    mask = model.silhouette.probability(arrays, rendered.shape[:2]) >= 0.5
    changed = (found != inflated(mask).normals_HW3).any(-1)
    scale = prepared.geometry.first.side_N_px[0] / model.network.size
    middle = prepared.geometry.first.to_image(np.array([[[60.0, 50.0]]]))[0, 0]
    y, x = np.nonzero(changed)
    assert changed.any()
    assert np.hypot(x - middle[0], y - middle[1]).max() < 41 * scale
    assert found[round(middle[1]), round(middle[0])] == pytest.approx([0, 0, 1], abs=0.1)
