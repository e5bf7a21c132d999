"""Plots of a pose place: joints, OKS, calibration of keypoint scores, and where AP is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.publish.calibration import Calibration, calibration
from sapiens_bench.publish.place import Place
from sapiens_bench.report import figures
from sapiens_bench.report.figures import Curve, Figure
from sapiens_bench.report.numbers import UNDEFINED
from sapiens_bench.report.page import Group
from sapiens_bench.report.sheet import Sheet
from sapiens_bench.tasks.pose.diagnosis import CLASSES, KINDS, Diagnosis, diagnose
from sapiens_bench.tasks.pose.metrics import WHOLE, OksMetric
from sapiens_bench.tasks.pose.pairing import Pairing, pair, similarity
from sapiens_bench.tasks.pose.types import PosePrediction, empty_prediction

MOST_JOINTS = 30  # lines of a plot; sets with more points are shown by part
OKS_STEPS = np.linspace(0, 1, 51)


@dataclass(frozen=True)
class PoseModel:
    """A model with its predictions of the scored images, paired with the people."""

    title: str
    model: str
    series: int
    predictions: Mapping[str, PosePrediction]
    pairing: Pairing
    keys: Sequence[str]


def pose_models(place: Place) -> list[PoseModel]:
    """Those whose predictions the run kept; an image without one (the model failed) has nobody.

    Raises:
        ShardDamaged: predictions are not what was committed.
    """
    metric = oks_metric(place)
    keys = [key for key in place.keys if key in place.truths]
    truths = [place.truths[key] for key in keys]
    nobody = empty_prediction(len(metric.variances_K))
    found = []
    for i, member in enumerate(place.members):
        stored = place.stored(member.model)
        if not stored and member.rows.num_rows:
            place.why_not.append(f"{member.title}: the run kept no predictions (--no-save-preds).")
            continue
        have = set(member.rows["key"].to_pylist())
        own = [k for k in keys if k in have]
        chosen = truths if len(own) == len(keys) else [place.truths[k] for k in own]
        pairing = pair(metric, chosen, [stored.get(key, nobody) for key in own])
        found.append(PoseModel(member.title, member.model, i, stored, pairing, own))
    return found


def oks_metric(place: Place) -> OksMetric:
    """The OKS metric as the protocol scores it."""
    return cast("OksMetric", next(m for m in place.task.metrics if m.name == "oks"))


def groups(place: Place, models: Sequence[PoseModel], prefix: str) -> list[Group]:
    """Details, calibration and diagnosis; empty where no predictions or no truth are there."""
    if not models:
        return []
    return [_details(place, models, prefix), _calibration(place, models, prefix), _diagnosis(place, models, prefix)]


def _details(place: Place, models: Sequence[PoseModel], prefix: str) -> Group:
    names, series = _joints(place, models)
    found = [
        figures.dots(
            f"{prefix}-joints", "Error by joint", "median distance, % of the root of the person's area", names, series,
            "People that were found, labelled points; smaller is better.",
        ),
        figures.lines(
            f"{prefix}-oks", "OKS of people", "OKS at least", "% of the people",
            [_oks_curve(model) for model in models],
            "Higher is better. People whom no prediction stands for (OKS below 0.1) count as 0.",
        ),
    ]  # fmt: skip
    return Group(f"{prefix}-details", "Joints and people", tuple(found), (_joint_sheet(place, models),))


def _median_of_joints(model: PoseModel) -> NDArray[np.float64]:
    return _nan_medians(100 * model.pairing.distances())


def _nan_medians(values_PK: NDArray[np.float64]) -> NDArray[np.float64]:
    has = np.isfinite(values_PK).any(axis=0)
    out = np.full(values_PK.shape[1], np.nan)
    if has.any():
        out[has] = np.nanmedian(values_PK[:, has], axis=0)
    return out


def _joints(place: Place, models: Sequence[PoseModel]) -> tuple[list[str], list[tuple[str, list[float]]]]:
    """Names of joints, or of parts where there are many joints, and (model, medians) of each model."""
    names = list(place.task.names)
    medians = [(model.title, _median_of_joints(model)) for model in models]
    if len(names) > MOST_JOINTS:
        parts = {part: group.index for part, group in oks_metric(place).groups.items() if part != WHOLE}
        if parts:
            found = [(title, [_mean(values[index]) for index in parts.values()]) for title, values in medians]
            return [part.replace("_", " ") for part in parts], found
        names = names[:MOST_JOINTS]
    return [n.replace("_", " ") for n in names], [(title, v[: len(names)].tolist()) for title, v in medians]


def _mean(values: NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")


def _joint_sheet(place: Place, models: Sequence[PoseModel]) -> Sheet:
    medians = [_median_of_joints(model) for model in models]
    names = place.task.names
    rows = tuple((name, *(_text(m[k], 2) for m in medians)) for k, name in enumerate(names))
    heads = ("Joint", *(model.title for model in models))
    return Sheet("Every joint: median distance, % of the root of the person's area", heads, rows)


def _oks_curve(model: PoseModel) -> Curve:
    oks = np.sort(model.pairing.oks_of_people())
    share = 1 - np.searchsorted(oks, OKS_STEPS, side="left") / max(1, len(oks))
    return Curve(model.title, OKS_STEPS, 100 * share, model.series)


def keypoint_similarities(place: Place, model: PoseModel) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(score, similarity) of every labelled keypoint of people that were found, each [n]."""
    p = model.pairing
    d = p.paired
    g = p.person_D[d]
    near = similarity(p.detections.x_DK[d], p.detections.y_DK[d], p.people, g, oks_metric(place).variances_K)
    visible = p.people.visible_GK[g]
    return p.keypoint_scores_DK[d][visible].astype(np.float64), near[visible]


def _calibration(place: Place, models: Sequence[PoseModel], prefix: str) -> Group:
    found: list[tuple[PoseModel, Calibration]] = [
        (model, calibration(*keypoint_similarities(place, model))) for model in models
    ]
    drawn: list[Figure] = [
        figures.lines(
            f"{prefix}-reliability", "Reliability of keypoint scores", "mean keypoint score", "share that is near",
            [Curve(m.title, c.score_B, c.share_B, m.series) for m, c in found],
            "Ten bins of equally many keypoints. Near: similarity at least 0.5. On the dashed line a score is the "
            "probability to be near.",
            diagonal=True,
        ),
        figures.lines(
            f"{prefix}-risk", "Risk against coverage", "% of the keypoints, highest scores first",
            "mean error (1 - similarity)",
            [Curve(m.title, 100 * c.coverage_R, c.risk_R, m.series) for m, c in found],
            "A score that knows when it is wrong rises from left to right; a flat line says nothing about errors.",
        ),
    ]  # fmt: skip
    rows = tuple(
        (m.title, _text(c.area, 4), _text(c.risk, 4), _text(c.best_area, 4), _text(c.gap, 3), str(c.n))
        for m, c in found
    )
    heads = (
        "Model",
        "Area under risk",
        "Risk at full coverage",
        "Best possible area",
        "Calibration error",
        "Keypoints",
    )
    sheet = Sheet(
        "Calibration in numbers", heads, rows,
        notes=("Calibration error: mean gap between score and share over the bins; only for scores from 0 to 1.",),
    )  # fmt: skip
    return Group(f"{prefix}-calibration", "Calibration", tuple(drawn), (sheet,))


def _diagnosis(place: Place, models: Sequence[PoseModel], prefix: str) -> Group:
    data = place.data
    flip = data.spec.space.flip_index if data is not None and data.spec.space is not None else ()
    metric = oks_metric(place)
    found = [(model, diagnose(metric, model.pairing, flip)) for model in models]
    names = [model.title for model, _ in found]
    parts: dict[str, list[float]] = {"AP": [100 * d.ap for _, d in found]}
    parts |= {f"lost: {kind}": [100 * d.lost[kind] for _, d in found] for kind in KINDS}
    classes = {c: [_share(d, c) for _, d in found] for c in CLASSES}
    drawn = (
        figures.stacked(
            f"{prefix}-lost", "AP and what it is lost to", "%", names, parts,
            "AP after the errors of one kind are taken away, one kind after the other in the order of the legend.",
        ),
        figures.stacked(
            f"{prefix}-classes", "What keypoints are", "%", names, classes,
            "Labelled keypoints of people that were found. Good: similarity >= 0.85; jitter: >= 0.5; inversion: near "
            "the mirror image; swap: near another person's point; miss: any other.",
        ),
    )  # fmt: skip
    return Group(
        f"{prefix}-diagnosis", "Error diagnosis", drawn, (_lost_sheet(found), _count_sheet(found)),
        notes=("Kinds of errors after Ronchi and Perona, ICCV 2017. AP and losses of a model add up to 100.",),
    )  # fmt: skip


def _share(d: Diagnosis, name: str) -> float:
    total = sum(d.keypoints.values())
    return 100 * d.keypoints[name] / total if total else float("nan")


def _lost_sheet(found: Sequence[tuple[PoseModel, Diagnosis]]) -> Sheet:
    rows = tuple((m.title, _text(100 * d.ap, 2), *(_text(100 * d.lost[kind], 2) for kind in KINDS)) for m, d in found)
    return Sheet("AP and losses in numbers (%)", ("Model", "AP", *KINDS), rows)


def _count_sheet(found: Sequence[tuple[PoseModel, Diagnosis]]) -> Sheet:
    rows = tuple(
        (m.title, str(d.n_people), str(d.n_found), str(d.n_background), *(str(d.keypoints[c]) for c in CLASSES))
        for m, d in found
    )
    heads = ("Model", "People", "Found", "Detections of nobody", *(f"Keypoints: {c}" for c in CLASSES))
    return Sheet("Counts", heads, rows)


def _text(value: Any, decimals: int) -> str:
    return f"{value:.{decimals}f}" if np.isfinite(value) else UNDEFINED
