"""Clothes and hair: cutting surfaces, refining them, and what they cover."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sapiens_bench.render.body import draw_body, posing
from sapiens_bench.render.draws import stream
from sapiens_bench.render.garments import HIDE_MARGIN_M, Tailor, covered_level, draw_wardrobe
from sapiens_bench.render.hair import STYLES, Hair, Hairdresser
from sapiens_bench.render.human_kit import SKIRT, TIGHTS, load_kit
from sapiens_bench.render.parts import BORDER, LABEL, LABELS, LimbJoints, Material, labels
from sapiens_bench.render.person import make_person
from sapiens_bench.render.pose_library import Pose
from sapiens_bench.render.shell import cut, shell, template_fields

KIT = load_kit()


def grid(n: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, n))
    at = np.arange(n * n).reshape(n, n)
    a, b, c, d = at[:-1, :-1].ravel(), at[:-1, 1:].ravel(), at[1:, 1:].ravel(), at[1:, :-1].ravel()
    return np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], 1), np.concatenate(
        [np.stack([a, b, c], 1), np.stack([a, c, d], 1)]
    )


def signed_area(vertices: np.ndarray, faces: np.ndarray) -> float:
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return float(np.cross(b - a, c - a)[:, 2].sum() / 2)


@settings(deadline=None, max_examples=30)
@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(-0.9, 0.9))
def test_what_is_kept_and_what_is_cut_away_make_up_the_whole(a: float, b: float, c: float):
    vertices, faces = grid(7)
    level = a * vertices[:, 0] + b * vertices[:, 1] + c
    kept, gone = cut(faces, level), cut(faces, -level)
    area = sum(signed_area(piece.carry(vertices), piece.faces_F3) for piece in (kept, gone) if len(piece.faces_F3))
    if np.abs(level).min() > 1e-9:
        assert area == pytest.approx(1, abs=1e-9)


def test_a_straight_cut_leaves_exactly_the_part_below():
    """x + 2 y < 1 keeps the triangle (0,0) (1,0) (0,1/2) of the unit square: area 1/4."""
    vertices, faces = grid(6)
    level = vertices[:, 0] + 2 * vertices[:, 1] - 1.0 + 1e-12
    piece = cut(faces, level)
    assert signed_area(piece.carry(vertices), piece.faces_F3) == pytest.approx(0.25, abs=1e-9)
    assert piece.carry(level[:, None]).max() <= 1e-12
    assert (piece.source_F < len(faces)).all()


def test_cutting_nothing_and_cutting_everything():
    vertices, faces = grid(3)
    assert len(cut(faces, np.full(len(vertices), -1.0)).faces_F3) == len(faces)
    assert len(cut(faces, np.full(len(vertices), 1.0)).faces_F3) == 0


@pytest.mark.parametrize("group", [TIGHTS, SKIRT])
def test_refined_surfaces_are_weighted_means_of_the_coarse_ones(group: int):
    source = shell(group)
    np.testing.assert_allclose(source.weight_SN.sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(source.skin_SB.sum(1), 1, atol=1e-9)
    linear = source.refine(np.ones((len(source.coarse_V), 2)) * [3.0, -1.0])
    np.testing.assert_allclose(linear, np.broadcast_to([3.0, -1.0], linear.shape), atol=1e-12)


def test_every_edge_of_a_garment_has_at_most_two_faces():
    body = draw_body(stream("t", 1), KIT)
    move = posing(body, Pose("stand"), KIT)
    for part in Tailor(body, move, draw_wardrobe(stream("t", 2), True), KIT).garments():
        f = part.faces_F3
        edges = np.sort(np.concatenate([f[:, [0, 1]], f[:, [1, 2]], f[:, [2, 0]]]), 1)
        _, count = np.unique(edges, axis=0, return_counts=True)
        assert count.max() <= 2, part.material.name


def test_garments_end_on_their_border():
    """No vertex lies beyond the cut line, and many lie exactly on it: the hem is a line, not a staircase."""
    for seed in range(4):
        for part in make_person("hem", seed).parts:
            if part.material in (Material.TOP, Material.BOTTOM, Material.SOCK):
                border = part.fields_VK[:, BORDER]
                assert border.max() < 1e-9
                assert (np.abs(border) < 1e-9).sum() > 20


def test_no_skin_is_left_deep_under_a_garment():
    fields = template_fields(KIT.mean_V3, KIT.skin_VB, KIT)
    for seed in range(6):
        wear = draw_wardrobe(stream("cover", seed), bool(seed % 2))
        covered = covered_level(wear, KIT.mean_V3, fields)
        piece = cut(np.arange(len(covered) // 3 * 3).reshape(-1, 3), -(covered + HIDE_MARGIN_M))
        assert piece.carry(covered[:, None]).min() >= -HIDE_MARGIN_M - 1e-9


@pytest.mark.parametrize("style", STYLES)
def test_hair_of_every_style_stays_attached_to_the_head(style: str):
    """Each hair part starts within two centimetres of the scalp: no floating strips."""
    body = draw_body(stream("hair", 5), KIT)
    move = posing(body, Pose("stand"), KIT)
    maker = Hairdresser(body, move, Hair(style, 0.015, 0.2, 0.0, False, (0.1,) * 6), KIT)
    head = move.apply(maker.rest, maker.skin)
    parts = maker.parts()
    assert bool(parts) == (style != "bald")
    for part in parts:
        assert np.isfinite(part.vertices_V3).all()
        sample = part.vertices_V3[:: max(1, len(part.vertices_V3) // 200)]
        gap = np.sqrt(((sample[:, None] - head[None]) ** 2).sum(2)).min(1)
        assert gap.min() < 0.02


def test_labels_have_the_order_of_the_28_class_set():
    assert len(LABELS) == 28
    assert (LABEL["Background"], LABEL["Apparel"], LABEL["Torso"], LABEL["Tongue"]) == (0, 1, 21, 27)


def test_skin_labels_follow_the_limbs():
    joints = LimbJoints(elbow_m=0.28, wrist_m=0.53, knee_m=0.44, ankle_m=0.89)
    # columns: along the arm, arm?, along the leg, leg?, above the neck line, lip, lower lip
    points = {
        "Left_Upper_Arm": (0.1, 0.1, 1, 0, 0, -0.2, 0, 0),
        "Right_Lower_Arm": (-0.1, 0.4, 1, 0, 0, -0.2, 0, 0),
        "Left_Hand": (0.1, 0.6, 1, 0, 0, -0.2, 0, 0),
        "Right_Upper_Leg": (-0.1, 0, 0, 0.2, 1, -0.5, 0, 0),
        "Left_Foot": (0.1, 0, 0, 0.95, 1, -1, 0, 0),
        "Torso": (0.1, 0, 0, -0.2, 0, -0.1, 0, 0),
        "Face_Neck": (0.1, 0, 0, -0.6, 0, 0.1, 0.2, 1),
        "Upper_Lip": (0.0, 0, 0, -0.6, 0, 0.1, 0.9, 0.1),
        "Lower_Lip": (0.0, 0, 0, -0.6, 0, 0.1, 0.9, 0.9),
    }
    values = np.array(list(points.values()))
    template = np.zeros((len(values), 3))
    template[:, 0] = values[:, 0]
    found = labels(np.zeros(len(values), np.int64), template, values[:, 1:], joints)
    assert [LABELS[i] for i in found] == list(points)
