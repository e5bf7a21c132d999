"""OKS-NMS of many images together stays that of each image alone, whatever the coordinates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sapiens_bench.tasks.pose.scoring import PoseScoring, mutual_oks, suppress, suppress_all


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    counts=st.lists(st.integers(0, 7), min_size=1, max_size=5),
    k=st.sampled_from([1, 3, 17]),
    nms=st.sampled_from(["hard", "soft"]),
    threshold=st.sampled_from([None, 0.3, 0.9, 1.0]),
    odd=st.booleans(),
)
def test_images_together_and_alone_keep_the_same(
    seed: int, counts: list[int], k: int, nms: str, threshold: float | None, odd: bool
) -> None:
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
    together = suppress_all(scoring, keypoints, scores, area, variances, np.array(counts))
    assert together.tolist() == alone


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
