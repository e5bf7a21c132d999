"""The committed points of face and body: complete, on the surface they name, mirror images of each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.render.body import Posing
from sapiens_bench.render.human_kit import BODY, LEFT_EYE, load_kit
from sapiens_bench.render.surface_points import load_points

KIT, POINTS = load_kit(), load_points()
AT = dict(zip(POINTS.names, POINTS.on(KIT.mean_V3)))
SPACES = [Catalog.load().space(name) for name in ("coco-wholebody133", "goliath308")]


def test_every_face_point_of_both_sets_is_there_and_nothing_else() -> None:
    wanted = {space.names[k] for space in SPACES for k in space.groups["face"]}
    body = {"neck", *(f"{s}_{p}" for s in ("left", "right") for p in ("olecranon", "cubital_fossa", "acromion"))}
    assert set(POINTS.names) == wanted | body
    np.testing.assert_allclose(POINTS.weight_N3.sum(1), 1, atol=1e-9)
    assert (POINTS.weight_N3 >= 0).all()


@pytest.mark.parametrize("space", SPACES, ids=lambda s: s.id)
def test_left_and_right_are_mirror_images_as_the_sets_pair_them(space) -> None:
    for name, other in zip(space.names, (space.names[k] for k in space.flip_index)):
        if name in AT:
            np.testing.assert_allclose(AT[other], AT[name] * [-1, 1, 1], atol=0.0021, err_msg=name)

    for name in ("tip_of_nose", "face-8", "face-30", "center_of_cupid_bow", "neck"):
        assert abs(AT[name][0]) < 0.001


def test_curves_run_the_way_their_numbers_run() -> None:
    def x(names: list[str]) -> list[float]:
        return [float(AT[name][0]) for name in names]

    jaw, mouth = x([f"face-{i}" for i in range(17)]), x([f"face-{i}" for i in range(48, 55)])
    brows, eye = x([f"face-{i}" for i in range(17, 27)]), x([f"face-{i}" for i in (42, 43, 44, 45)])
    order = ("midpoint_6", "midpoint_2", "midpoint_5", "centerpoint", "midpoint_4", "midpoint_1", "midpoint_3")
    lid = x(["l_outer_end_of_upper_eyelid_line", *(f"l_{point}_of_upper_eyelid_line" for point in order)])
    lip = x([f"midpoint_{n}_of_lower_inner_lip" for n in (3, 1, 4, 5, 2, 6)])
    for row in (jaw, mouth, brows, eye, lid[::-1], lip):
        assert row == sorted(row)
    heights = [float(AT[name][2]) for name in (
        "l_centerpoint_of_upper_crease_line", "l_centerpoint_of_upper_eyelid_line", "l_centerpoint_of_upper_lash_line",
        "l_center_of_pupil", "l_centerpoint_of_lower_lash_line", "l_centerpoint_of_lower_eyelid_line")]  # fmt: skip
    assert heights == sorted(heights, reverse=True)


def test_irises_lie_on_the_eyeball_and_lids_on_the_skin() -> None:
    eye, body = set(np.unique(KIT.quads(LEFT_EYE)).tolist()), set(np.unique(KIT.quads(BODY)).tolist())
    for name, corners in zip(POINTS.names, POINTS.vertex_N3.tolist()):
        if name.startswith("l_") and ("iris" in name or "pupil" in name):
            assert set(corners) <= eye, name
        elif "iris" not in name and "pupil" not in name:
            assert set(corners) <= body, name


def test_points_move_with_the_body() -> None:
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    n = len(KIT.bones)
    move = Posing(np.repeat(turn[None], n, 0), np.tile([0.5, 0.25, 1.0], (n, 1)))
    posed = POINTS.on(move.apply(KIT.mean_V3, KIT.skin_VB))
    np.testing.assert_allclose(posed, POINTS.on(KIT.mean_V3) @ turn.T + [0.5, 0.25, 1.0], atol=2e-6)


def test_the_committed_list_is_what_the_tool_writes(tmp_path: Path) -> None:
    import place_face_points

    written = tmp_path / "points.csv"
    place_face_points.write(place_face_points.body_points(), written)
    tool = {line.split(",")[0]: line for line in written.read_text().splitlines()[1:]}
    from importlib import resources

    committed = (resources.files("sapiens_bench.embedded") / "surface_points.csv").read_text().splitlines()
    assert {line.split(",")[0]: line for line in committed if line.split(",")[0] in tool} == tool
