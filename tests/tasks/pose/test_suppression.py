"""OKS-NMS of many images together stays that of each image alone, whatever the coordinates."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sapiens_bench.tasks.pose.scoring import PoseScoring, mutual_oks, suppress, suppress_all


@pytest.fixture
def peak_bytes() -> Callable[[Callable[[], object]], int]:
    def measure(function: Callable[[], object]) -> int:
        tracemalloc.start()
        try:
            function()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    return measure


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    counts=st.lists(st.integers(0, 7), min_size=1, max_size=5),
    k=st.sampled_from([1, 3, 17]),
    nms=st.sampled_from(["hard", "soft"]),
    threshold=st.sampled_from([None, 0.3, 0.9, 1.0]),
    odd=st.booleans(),
    limits=st.sampled_from([(1000, 1 << 21), (2, 5), (0, 0)]),
)
def test_images_together_and_alone_keep_the_same(
    seed: int, counts: list[int], k: int, nms: str, threshold: float | None, odd: bool, limits: tuple[int, int]
) -> None:
    """However few instances have their similarities kept in a table, or are looked at together."""
    rng, n = np.random.default_rng(seed), sum(counts)
    people = rng.uniform(0, 100, (3, k, 2))
    spread = rng.choice([0.0, 0.5, 3.0, 50.0], (n, 1, 1))
    keypoints = (people[rng.integers(0, 3, n)] + rng.normal(size=(n, k, 2)) * spread).astype(np.float32)
    if odd:
        keypoints[rng.random(keypoints.shape) < 0.05] = rng.choice([np.nan, np.inf])
    scores, area = np.round(rng.random(n), 1), rng.uniform(10, 4000, n)
    variances, scoring = rng.uniform(0.001, 0.1, k), PoseScoring(nms=nms, nms_oks=threshold)
    alone, start = [], 0
    for count in counts:
        part = slice(start, start + count)
        alone += (start + suppress(scoring, keypoints[part], scores[part], area[part], variances)).tolist()
        start += count
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sapiens_bench.tasks.pose.scoring._MOST_IN_A_TABLE", limits[0])
        patch.setattr("sapiens_bench.tasks.pose.scoring._MOST_PAIRS", limits[1])
        together = suppress_all(scoring, keypoints, scores, area, variances, np.array(counts))
    assert together.tolist() == alone


def test_thousands_of_instances_of_one_image_need_no_table_of_them_all(peak_bytes: Callable[..., int]) -> None:
    rng, n = np.random.default_rng(0), 4000
    keypoints = rng.uniform(0, 20, (n, 1, 2))
    given = keypoints, rng.random(n), np.full(n, 100.0), np.array([0.04])
    for nms in ("hard", "soft"):
        found: list[int] = []
        scoring = PoseScoring(nms=nms, nms_oks=0.5)
        peak = peak_bytes(lambda s=scoring, f=found: f.extend(suppress_all(s, *given, np.array([n])).tolist()))
        assert 1 < len(found) < n
        assert peak < n * n


@pytest.mark.parametrize("chunk", [1, 1 << 16])
def test_mutual_similarity_worked_by_hand(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    # one point each at 0, 3 and 4 px; areas 100, 100, 300; variance 0.01: e = d² / 0.01 / mean area / 2
    monkeypatch.setattr("sapiens_bench.tasks.pose.scoring._CHUNK_VALUES", chunk)
    points = np.array([[[0.0, 0.0]], [[3.0, 0.0]], [[0.0, 4.0]]])
    found = mutual_oks(points, np.array([100.0, 100.0, 300.0]), np.array([0.01]))
    wanted = np.exp(-np.array([[0, 9 / 2, 16 / 4], [9 / 2, 0, 25 / 4], [16 / 4, 25 / 4, 0]]))
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert found.dtype == np.float32
    assert (np.diagonal(found) == 1).all()
    assert mutual_oks(points, np.zeros(3), np.array([0.01]))[0, 1] == 0
