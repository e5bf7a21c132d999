"""The compiled kernels and numpy agree to the last bit; without a compiler numpy does the work, and says why once."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sapiens_bench.tasks.pose import matching_arrays, matching_compiled, precision_arrays, precision_compiled
from sapiens_bench.tasks.pose.compiled import COMPILING_S, KERNELS, LOADING_S, Kernels, is_kept
from sapiens_bench.tasks.pose.flatten import flatten_people, flatten_predictions
from sapiens_bench.tasks.pose.metrics import OksMetric
from sapiens_bench.tasks.pose.oks import Detections, Group, People, falling, variances
from sapiens_bench.tasks.pose.precision_arrays import Weighted, hits_needed
from sapiens_bench.tasks.pose.scoring import PoseScoring

PLAIN = PoseScoring(nms_oks=None, score="instance")
SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def kernels() -> ModuleType:
    found = KERNELS.load()
    assert found is not None
    return found


def assert_match_alike(kernels: ModuleType, people: People, found: Detections, n_images: int, group: Group) -> None:
    order = np.lexsort((-found.scores_D, found.image_D))
    bits, n_people = matching_arrays.match_group(people, found, order, n_images, group)
    again, n_again = matching_compiled.match_group(kernels, people, found, order, n_images, group)
    np.testing.assert_array_equal(again, bits)
    np.testing.assert_array_equal(n_again, n_people)
    assert (again.dtype, n_again.dtype) == (bits.dtype, n_people.dtype)


@settings(deadline=None, max_examples=60)
@given(seed=SEEDS, k=st.sampled_from([1, 3, 8, 17, 133, 308]), crowded=st.booleans())
def test_matching_agrees(kernels: ModuleType, poses: ModuleType, seed: int, k: int, crowded: bool) -> None:
    rng = np.random.default_rng(seed)
    targets, predictions = poses.suite(seed, 6, k, 25 if crowded else 3, 30 if crowded else 4)
    sigmas = variances(rng.uniform(0.01, 0.11, k))
    people = flatten_people(targets, k)
    found = flatten_predictions(predictions, k, PLAIN, sigmas, np.arange(k)).detections
    for index in (np.arange(k), rng.permutation(k)[: max(1, k // 3)]):
        assert_match_alike(kernels, people, found, 6, Group(index, sigmas[index]))


@settings(deadline=None, max_examples=60)
@given(seed=SEEDS, k=st.sampled_from([1, 2, 9, 17]))
def test_matching_agrees_on_values_that_ought_not_to_be(kernels: ModuleType, seed: int, k: int) -> None:
    """NaN, infinite, huge and equal coordinates, people of no area, deviations of 0, equal scores."""
    rng = np.random.default_rng(seed)

    def odd(values: NDArray[np.float64]) -> NDArray[np.float64]:
        strange = rng.choice([np.nan, np.inf, -np.inf, 1e200, -1e308, 0.0, 1e-310], values.shape)
        return np.where(rng.random(values.shape) < 0.1, strange, values)

    n_people, n_found = 12, 30
    corner = np.round(rng.uniform(0, 20, (n_people, 2)))
    people = People(
        image_G=np.sort(rng.integers(0, 3, n_people)),
        x_GK=odd(corner[:, :1] + np.round(rng.uniform(0, 3, (n_people, k)))),
        y_GK=odd(corner[:, 1:] + np.round(rng.uniform(0, 3, (n_people, k)))),
        visible_GK=rng.random((n_people, k)) < 0.7,
        area_G=np.abs(odd(rng.choice([0.0, 40.0, 2000.0, 9216.0], n_people))),
        is_crowd_G=rng.random(n_people) < 0.2,
        boxes_xywh_G4=odd(np.concatenate([corner, rng.uniform(0, 9, (n_people, 2))], axis=1)),
        is_ignored_G=rng.random(n_people) < 0.2 if rng.random() < 0.5 else None,
    )
    near = rng.integers(0, n_people, n_found)
    found = Detections(
        image_D=np.sort(rng.integers(0, 3, n_found)),
        x_DK=odd(people.x_GK[near] + np.round(rng.normal(size=(n_found, k)))),
        y_DK=odd(people.y_GK[near] + np.round(rng.normal(size=(n_found, k)))),
        scores_D=np.round(rng.random(n_found), 1),
        area_D=odd(rng.choice([0.0, 40.0, 2000.0, 9216.0], n_found)),
    )
    sigmas = variances(rng.choice([0.0, 0.05, 1.0], k))
    with np.errstate(all="ignore"):
        assert_match_alike(kernels, people, found, 3, Group(np.arange(k), sigmas))


@settings(deadline=None, max_examples=40)
@given(seed=SEEDS)
def test_precision_agrees_for_any_weights(kernels: ModuleType, seed: int) -> None:
    """Also where true positives are detections that other thresholds leave out, as ignored people make them."""
    rng = np.random.default_rng(seed)
    n_elements, n_images = int(rng.integers(0, 80)), 7
    bits = rng.integers(0, 1 << 60, n_elements)
    bits &= ~((bits & ((1 << 30) - 1)) << 30)  # a true positive is no false one
    copies = rng.integers(-1, 3, n_elements) if rng.random() < 0.5 else None
    elements = Weighted(rng.integers(0, n_images, n_elements), copies, bits)
    kind, order = rng.choice([np.uint8, np.uint16, np.int64]), rng.choice(["C", "F"])
    weights = rng.integers(0, 4, (9, n_images)).astype(kind, order=order)
    people = rng.integers(0, 40, (9, 3))
    needed = {area: hits_needed(people[:, area]) for area in range(3)}
    cells = sorted(rng.choice(30, int(rng.integers(1, 31)), replace=False).tolist())
    slow = precision_arrays.curves(weights, elements, needed, cells)
    fast = precision_compiled.curves(kernels, weights, elements, needed, cells)
    np.testing.assert_array_equal(fast.precision_BCR, slow.precision_BCR)
    np.testing.assert_array_equal(fast.hits_BC, slow.hits_BC)


@settings(deadline=None, max_examples=60)
@given(scores=st.lists(st.sampled_from([0.0, -0.0, 0.1, 0.5, 1e300, np.inf, -np.inf, np.nan]), max_size=60))
def test_falling_is_the_stable_order(scores: list[float]) -> None:
    values = np.array(scores, np.float64)
    np.testing.assert_array_equal(falling(values), np.argsort(-values, kind="stable"))


def test_sums_add_in_the_order_of_numpy(kernels: ModuleType) -> None:
    values = np.random.default_rng(1).random(40_000) ** 6
    for n in (*range(1, 1100), 4096, 5001, 39_999):
        assert kernels.pairwise_sum(values, 1, n) == values[1 : n + 1].sum()


def test_arrays_that_may_not_be_written_are_taken(kernels: ModuleType, poses: ModuleType) -> None:
    targets, predictions = poses.suite(3, 5, 17)
    people = flatten_people(targets, 17)
    for name in ("x_GK", "y_GK", "visible_GK", "is_crowd_G", "boxes_xywh_G4"):
        getattr(people, name).flags.writeable = False
    found = flatten_predictions(predictions, 17, PLAIN, np.full(17, 0.01), np.arange(17)).detections
    found.x_DK.flags.writeable = False
    assert_match_alike(kernels, people, found, 5, Group(np.arange(17), np.full(17, 0.01)))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModuleNotFoundError("No module named 'numba'", name="numba"), "pip install"),
        (RuntimeError("cannot cache function 'x': no locator available for file"), "NUMBA_CACHE_DIR"),
        (OSError(28, "No space left on device"), "NUMBA_CACHE_DIR"),
        (ImportError("Numba needs NumPy 1.0 or less"), "cannot compile here"),
    ],
)
def test_a_compiler_that_fails_is_named_once_and_numpy_goes_on(
    monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == "numba"] + ["sapiens_bench.tasks.pose.kernels"]:
        monkeypatch.delitem(sys.modules, name, raising=False)

    def fail(name: str) -> ModuleType:
        raise error

    monkeypatch.setattr("importlib.import_module", fail)
    kernels = Kernels("sapiens_bench.tasks.pose.kernels", "OKS scoring")
    with pytest.warns(RuntimeWarning, match="the same results") as seen:
        assert kernels.get(1e6) is None
    assert said in str(seen[0].message)
    assert said in kernels.reason
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kernels.get(1e6) is None
        assert kernels.load() is None


def test_little_work_loads_nothing_and_work_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []
    monkeypatch.setattr("sapiens_bench.tasks.pose.compiled._checked", lambda name: loads.append(name) or sys)
    monkeypatch.setattr("sapiens_bench.tasks.pose.compiled.is_kept", lambda name: True)
    kernels = Kernels("a.module", "a purpose")
    assert [kernels.get(LOADING_S * 0.3) for _ in range(3)] == [None] * 3
    assert kernels.get(LOADING_S * 0.3) is sys
    assert kernels.get(0.0) is sys
    assert loads == ["a.module"]


def test_what_would_have_to_be_compiled_waits_for_more_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sapiens_bench.tasks.pose.compiled._checked", lambda name: sys)
    monkeypatch.setattr("sapiens_bench.tasks.pose.compiled.is_kept", lambda name: False)
    kernels = Kernels("a.module", "a purpose")
    assert kernels.get(LOADING_S) is None
    assert kernels.get(COMPILING_S - LOADING_S) is sys


def test_kept_kernels_are_found_where_numba_keeps_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = f"py{sys.version_info.major}{sys.version_info.minor}"
    source = tmp_path / "loops.py"
    source.write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    assert not is_kept("loops")
    assert not is_kept("no_such_module")
    beside, chosen = tmp_path / "__pycache__", tmp_path / "cache" / "loops_0123"
    for folder in (beside, chosen):
        folder.mkdir(parents=True)
    (beside / f"loops.f-1.{version}.nbi").touch()
    assert is_kept("loops")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    assert not is_kept("loops")
    (chosen / f"loops.f-1.{version}.nbi").touch()
    assert is_kept("loops")
    os.utime(source, (2e9, 2e9))  # changed since
    assert not is_kept("loops")


def run_python(code: str, tmp_path: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", code],
        cwd=tmp_path,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_scoring_a_few_images_imports_no_compiler(tmp_path: Path) -> None:
    code = (
        "import sys, sapiens_bench.tasks.pose.task, sapiens_bench.engine.scores\n"
        "from sapiens_bench.tasks.pose.metrics import OksMetric\n"
        "from sapiens_bench.tasks.pose.scoring import PoseScoring\n"
        "rows = OksMetric([0.1], {}, PoseScoring()).measure_table([], [])\n"
        "print('numba' in sys.modules)"
    )
    assert run_python(code, tmp_path).strip() == "False"


NO_CACHE = "import numba.core.caching as c; c.CacheImpl._locator_classes = []\n"  # as where no folder can be written


@pytest.mark.parametrize(
    ("before", "environment", "said"),
    [("", {"NUMBA_DISABLE_JIT": "1"}, "NUMBA_DISABLE_JIT"), (NO_CACHE, {}, "set NUMBA_CACHE_DIR")],
)
def test_a_numba_that_may_not_compile_or_keep_is_passed_over(
    tmp_path: Path, before: str, environment: dict[str, str], said: str
) -> None:
    code = (
        f"{before}from sapiens_bench.tasks.pose.compiled import KERNELS\n"
        "print(KERNELS.load(), KERNELS.load(), KERNELS.get(1e9))"
    )
    output = run_python(code, tmp_path, **environment)
    assert "None None None" in output
    assert output.count("RuntimeWarning:") == 1
    assert said in output


def test_a_whole_metric_agrees(poses: ModuleType, monkeypatch: pytest.MonkeyPatch, kernels: ModuleType) -> None:
    targets, predictions = poses.suite(9, 40, 20)
    metric = OksMetric([0.07] * 20, {"left_hand": range(5), "right_hand": range(5, 9)}, PoseScoring())
    weights = np.random.default_rng(0).integers(0, 4, (6, 40)).astype(np.uint8)
    found = []
    for engine in (None, kernels):
        monkeypatch.setattr(KERNELS, "get", lambda numpy_s, engine=engine: engine)
        rows = metric.measure_table(targets, predictions)
        found.append((rows, metric.aggregate(rows).batch(weights)))
    assert found[0][0].equals(found[1][0])
    for key, values in found[0][1].items():
        np.testing.assert_array_equal(found[1][1][key], values)
