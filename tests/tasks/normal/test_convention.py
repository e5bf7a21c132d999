"""Advice on normals in other axes holds when it is followed, and the truth is doubted where it contradicts itself."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml

from sapiens_bench.cards.options import read_options
from sapiens_bench.models.dense_options import StoredNormals
from sapiens_bench.tasks.normal.convention import Axes, choice_name
from sapiens_bench.tasks.normal.evidence import ORDERS, SIGNS, Sign
from sapiens_bench.tasks.normal.types import NormalPrediction, NormalTarget


def read(stored: np.ndarray, options: Any) -> np.ndarray:
    """As models/dense_results.py reads stored normals."""
    ordered = stored if options["order"] == "xyz" else stored[..., ::-1]
    return np.asarray(ordered * np.asarray(options["axis_sign"], np.float32))


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("now", "now_order"), [((1, 1, 1), "xyz"), ((-1, 1, -1), "xyz"), ((1, -1, 1), "zyx")])
def test_following_the_advice_makes_it_right(
    sphere: ModuleType, sign: Sign, order: str, now: Sign, now_order: str
) -> None:
    ball = sphere.perspective(x=0.35)
    truth = np.nan_to_num(ball.normals_HW3)
    stored = truth * np.array(sign, np.float32)
    stored = stored if order == "xyz" else stored[..., ::-1]
    options: dict[str, Any] = {"axis_sign": now, "order": now_order}
    found = Axes().choices(NormalPrediction(read(stored, options)), NormalTarget(truth, ball.mask_HW))
    best = min(found.errors, key=lambda name: found.errors[name])
    assert found.errors[best] < 1e-3
    if best == found.declared:
        return
    advice = Axes().correction(best, options)

    text = advice.partition("options: ")[2].partition(" into its card")[0]
    followed = read_options(StoredNormals, {"order": now_order, **yaml.safe_load(text)}, "test").model_dump()
    np.testing.assert_allclose(read(stored, followed)[ball.mask_HW], truth[ball.mask_HW], atol=1e-6)


def test_advice_says_when_the_wrapper_has_no_such_option() -> None:
    assert "axis_sign: [1, -1, -1]" in Axes().correction("+x -y -z", {"axis_sign": (1, 1, 1)})
    assert "no option axis_sign" in Axes().correction("+x -y -z", {"resize": ""})
    reversed_ = Axes().correction("+z +y +x", {"axis_sign": (1, 1, 1)})
    assert "order z, y, x" in reversed_
    assert "no option order" in reversed_


def test_a_truth_that_contradicts_its_outline_is_doubted(sphere: ModuleType) -> None:
    ball = sphere.perspective(x=0.35)
    normals = np.nan_to_num(ball.normals_HW3)
    assert Axes().doubt([NormalTarget(normals, ball.mask_HW)]) == ""
    turned = NormalTarget(normals * np.array([1, -1, -1], np.float32), ball.mask_HW)
    assert f"right would be '{choice_name((1, -1, -1), 'xyz')}'" in Axes().doubt([turned])
    assert Axes().doubt([]) == ""
