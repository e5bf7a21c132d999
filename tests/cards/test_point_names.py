from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.guess_space import guessed_space
from sapiens_bench.cards.point_names import NamesDiffer, order_by_name
from sapiens_bench.errors import LabelSpaceMismatch

SPACES = Catalog.load().spaces
COCO = SPACES["coco17"].names


@given(st.permutations(range(17)))
def test_any_order_of_the_same_names_is_undone(order: list[int]) -> None:
    found = [COCO[i] for i in order]
    back = order_by_name(found, COCO)
    assert back is not None
    assert [found[i] for i in back] == list(COCO)


@pytest.mark.parametrize(
    "spell",
    [
        lambda name: name.replace("_", " ").title(),
        lambda name: name.replace("_", "-"),
        lambda name: "".join(word.title() for word in name.split("_")),
        lambda name: name.replace("left_", "l_").replace("right_", "R "),
        lambda name: "_".join(reversed(name.split("_"))),
    ],
)
def test_spellings_of_one_point_are_one(spell: object) -> None:
    order = order_by_name([spell(name) for name in COCO], COCO)  # type: ignore[operator]
    np.testing.assert_array_equal(order, np.arange(17))


@pytest.mark.parametrize("names", [[str(i) for i in range(17)], [f"keypoint_{i}" for i in range(17)], ["p3"] * 17])
def test_numbers_say_nothing(names: list[str]) -> None:
    assert order_by_name(names, COCO) is None


def test_points_at_each_other_s_place_differ_from_mere_spelling() -> None:
    with pytest.raises(NamesDiffer, match="'tail'") as caught:
        order_by_name(["tail", *COCO[1:]], COCO)
    assert caught.value.in_place
    with pytest.raises(NamesDiffer) as caught:
        order_by_name(["left_eye", "tail", *COCO[2:]], COCO)
    assert not caught.value.in_place


@pytest.mark.parametrize(
    ("space", "spelt"),
    [(name, spelt) for name in ("coco17", "posetrack-17", "ap10k-17", "crowdpose-14", "aic-14", "mpii-16", "jhmdb-15")
     for spelt in ("as it is", "with spaces", "reversed")] + [("lsp-14", "as it is"), ("lsp-14", "with spaces")],
)  # fmt: skip
def test_names_tell_the_sets_of_equal_size_apart(space: str, spelt: str) -> None:
    names = [name.replace("_", " ") if spelt == "with spaces" else name for name in SPACES[space].names]
    names = names[::-1] if spelt == "reversed" else names
    assert guessed_space(len(names), names, SPACES, "a.json").id == space


def test_names_in_place_but_for_spelling_beat_another_set_in_another_order() -> None:
    """MMPose calls the head of CrowdPose ``top_head``; so spelt they are those of AI Challenger, moved."""
    names = [*SPACES["crowdpose-14"].names[:12], "top_head", "neck"]
    assert guessed_space(14, names, SPACES, "a.json").id == "crowdpose-14"
    assert guessed_space(14, [*SPACES["aic-14"].names[:12], "top_head", "neck"], SPACES, "a.json").id == "aic-14"


@pytest.mark.parametrize(("n", "space"), [(17, "coco17"), (26, "halpe-26"), (133, "coco-wholebody133"),
                                          (136, "halpe-136"), (308, "goliath308")])  # fmt: skip
def test_without_names_the_usual_set_of_that_many_points_is_meant(n: int, space: str) -> None:
    assert guessed_space(n, [], SPACES, "a.json").id == space


def test_what_is_not_clear_is_asked_for() -> None:
    for n, names in ((14, []), (5, []), (17, ["tail", *COCO[1:]])):
        with pytest.raises(LabelSpaceMismatch, match="--space NAME"):
            guessed_space(n, names, SPACES, "a.json")
