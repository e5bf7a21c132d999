"""What is laid over a picture: skeletons, part colours, depth, normals, and heat maps of the errors.

Axes: N people, K keypoints, H height, W width.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.publish import rasters
from sapiens_bench.publish.gallery import MOST_MODELS, Layers, layer_name
from sapiens_bench.publish.place import Place
from sapiens_bench.report.page import Layer, Skeleton
from sapiens_bench.tasks.albedo.types import in_space
from sapiens_bench.tasks.depth.alignment import Values
from sapiens_bench.tasks.depth.sums import Aligner, Truth
from sapiens_bench.tasks.normal.angles import angles_deg
from sapiens_bench.tasks.pose.types import PosePrediction
from sapiens_bench.tasks.seg.types import IGNORE, NO_CLASS

MOST_POINTS = 60  # of a person, drawn one by one; of larger sets only the bones
WORST_ANGLE, WORST_SHARE = 60.0, 0.1  # full brightness of error maps: degrees, share of the depth
WORST_ALPHA, WORST_COLOUR = 0.5, 0.25  # likewise: of alpha, and of sRGB values, the mean of the three


class Posed(Protocol):
    """A model with its predictions by key."""

    @property
    def title(self) -> str: ...

    @property
    def predictions(self) -> Mapping[str, PosePrediction]: ...


def pose_layers(place: Place, models: Sequence[Posed]) -> Layers:
    """Skeletons of the truth and of every model."""
    space = place.data.spec.space if place.data is not None else None
    bones = space.skeleton if space is not None else ()

    def layers(key: str, sample: Any) -> list[Layer]:
        truth = sample.target
        people = skeletons(truth.keypoints_NK2_px, truth.visible_NK > 0, bones)
        made = [Layer("truth", "truth", people=people, series=0)]
        for position, model in enumerate(models[:MOST_MODELS]):
            found = model.predictions.get(key)
            people = () if found is None else skeletons(
                found.keypoints_NK2_px, np.ones(found.keypoint_scores_NK.shape, bool), bones
            )  # fmt: skip
            made.append(Layer(layer_name(position), model.title, people=people, series=1 + position % 7))
        return made

    return layers


def skeletons(
    points_NK2: NDArray[Any], is_shown_NK: NDArray[np.bool_], bones: Sequence[tuple[int, int]]
) -> tuple[Skeleton, ...]:
    """Bones between shown points, and the points themselves where there are few."""
    found = []
    for points, is_shown in zip(np.round(points_NK2.astype(np.float64), 1), is_shown_NK):
        shown = is_shown & np.isfinite(points).all(axis=1)
        drawn = tuple((*points[a].tolist(), *points[b].tolist()) for a, b in bones if shown[a] and shown[b])
        dots = (
            tuple(tuple(point) for point in points[shown].tolist()) if len(points) <= MOST_POINTS or not bones else ()
        )
        found.append(Skeleton(drawn, dots))
    return tuple(found)


def map_layers(place: Place) -> Layers:
    """The truth, every kept map, and its errors."""
    make = _DRAWN.get(place.task.name)

    def layers(key: str, sample: Any) -> list[Layer]:
        maps = [
            (layer_name(i), member.title, found)
            for i, member in enumerate(place.members[:MOST_MODELS])
            if (found := place.map(member.model, key)) is not None
        ]
        return [] if make is None else make(place, sample.target, maps)

    return layers


def colours_of(place: Place) -> list[tuple[int, int, int]]:
    """One colour for each class: those of the card, else evenly spaced hues."""
    space = place.data.spec.space if place.data is not None else None
    n = len(place.task.names)
    if space is not None and len(space.colours) == n:
        return [(int(c[0]), int(c[1]), int(c[2])) for c in space.colours]
    hues = (colorsys.hsv_to_rgb(0.618 * i % 1.0, 0.75, 0.95) for i in range(n))
    return [(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in hues]


def _seg(place: Place, truth: Any, maps: Sequence[tuple[str, str, Any]]) -> list[Layer]:
    colours = colours_of(place)
    valid = truth.labels_HW != IGNORE
    made = [Layer("truth", "truth", rasters.coloured(np.where(valid, truth.labels_HW, 0), colours))]
    for name, title, found in maps:
        if found.labels_HW.shape != valid.shape:
            continue
        labels = np.where(found.labels_HW == NO_CLASS, 0, found.labels_HW)
        wrong = np.where(valid & (found.labels_HW != truth.labels_HW), 1.0, np.nan)
        made += [Layer(name, title, rasters.coloured(labels, colours)),
                 Layer(f"{name}-error", f"{title}: wrong pixels", rasters.heat(wrong, 1.3))]  # fmt: skip
    return made


def _normal(place: Place, truth: Any, maps: Sequence[tuple[str, str, Any]]) -> list[Layer]:
    mask = truth.mask_HW
    made = [Layer("truth", "truth", rasters.normals(np.where(mask[..., None], truth.normals_HW3, np.nan)))]
    for name, title, found in maps:
        if found.normals_HW3.shape[:2] != mask.shape:
            continue
        error = np.full(mask.shape, np.nan)
        error[mask] = angles_deg(found.normals_HW3[mask], truth.normals_HW3[mask])
        made += [Layer(name, title, rasters.normals(found.normals_HW3)),
                 Layer(f"{name}-error", f"{title}: error, 0 to {WORST_ANGLE:g}°",
                       rasters.heat(error, WORST_ANGLE))]  # fmt: skip
    return made


def _depth(place: Place, truth: Any, maps: Sequence[tuple[str, str, Any]]) -> list[Layer]:
    mask = truth.mask_HW
    if not mask.any():
        return []
    near, far = float(truth.depth_HW[mask].min()), float(truth.depth_HW[mask].max())
    made = [Layer("truth", "truth", rasters.depth(np.where(mask, truth.depth_HW, np.nan), near, far))]
    for name, title, found in maps:
        fitted = fitted_depth(place, found, truth) if found.depth_HW.shape == mask.shape else None
        if fitted is None:
            continue
        error = np.abs(fitted - truth.depth_HW) / truth.depth_HW
        made += [Layer(name, title, rasters.depth(fitted, near, far)),
                 Layer(f"{name}-error", f"{title}: error, 0 to {WORST_SHARE:.0%} of the depth",
                       rasters.heat(np.where(mask, error, np.nan), WORST_SHARE))]  # fmt: skip
    return made


def _matting(place: Place, truth: Any, maps: Sequence[tuple[str, str, Any]]) -> list[Layer]:
    has = np.ones(truth.alpha_HW.shape, bool)
    made = [Layer("truth", "truth", rasters.shares(_grey(truth.alpha_HW), has))]
    for name, title, found in maps:
        if found.alpha_HW.shape != has.shape:
            continue
        error = np.abs(found.alpha_HW.astype(np.float64) - truth.alpha_HW)
        made += [Layer(name, title, rasters.shares(_grey(found.alpha_HW), has)),
                 Layer(f"{name}-error", f"{title}: error, 0 to {WORST_ALPHA:g}",
                       rasters.heat(error, WORST_ALPHA))]  # fmt: skip
    return made


def _grey(alpha_HW: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    return np.repeat(alpha_HW[..., None], 3, axis=-1)


def _albedo(place: Place, truth: Any, maps: Sequence[tuple[str, str, Any]]) -> list[Layer]:
    mask = truth.mask_HW
    true = in_space(truth.albedo_HW3, "linear", "srgb")
    made = [Layer("truth", "truth", rasters.shares(true, mask))]
    for name, title, found in maps:
        if found.albedo_HW3.shape != true.shape:
            continue
        colours = in_space(found.albedo_HW3, found.space, "srgb")
        error = np.where(mask, np.abs(colours - true).mean(axis=-1), np.nan)
        made += [Layer(name, title, rasters.shares(colours, mask)),
                 Layer(f"{name}-error", f"{title}: error of sRGB values, 0 to {WORST_COLOUR:g}",
                       rasters.heat(error, WORST_COLOUR))]  # fmt: skip
    return made


def fitted_depth(place: Place, found: Any, truth: Any) -> NDArray[np.float64] | None:
    """The prediction in metres, aligned as the protocol scores it [H, W], NaN where there is no value; None without."""
    pred, gt = found.depth_HW[truth.mask_HW], truth.depth_HW[truth.mask_HW]
    finite = np.isfinite(pred)
    if not finite.any():
        return None
    alignment = next(metric.alignment for metric in _metrics(place) if metric.name == "depth")
    align = Aligner(Values(pred[finite]), Truth(gt[finite]), found.kind, alignment)
    out = np.full(truth.mask_HW.shape, np.nan)
    inside = np.full(len(pred), np.nan)
    inside[finite] = align(pred[finite].astype(np.float64))
    out[truth.mask_HW] = inside
    return out


def _metrics(place: Place) -> Sequence[Any]:
    return place.task.metrics


_DRAWN = {"seg": _seg, "depth": _depth, "normal": _normal, "matting": _matting, "albedo": _albedo}


def is_drawn(task: str) -> bool:
    """Whether truth and maps of a task have layers."""
    return task in _DRAWN
