"""Fixtures of the pose tests: seeded suites, keypoint sets of the repository's cards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from sapiens_bench.cards.schema import SpaceCard
from sapiens_bench.tasks.pose.compiled import KERNELS


@pytest.fixture(scope="module", autouse=True, params=["numpy", "compiled"])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every test of this folder runs on either engine; the compiled one is part of the test set-up."""
    kernels = KERNELS.load()
    assert kernels is not None, KERNELS.reason
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KERNELS, "get", lambda numpy_s: kernels if request.param == "compiled" else None)
        yield request.param


@pytest.fixture(scope="session")
def spaces(repository: Path) -> dict[str, SpaceCard]:
    """Keypoint sets by id."""
    cards = [yaml.safe_load(p.read_text()) for p in sorted((repository / "datasets" / "spaces").glob("*.yaml"))]
    return {c["id"]: SpaceCard.model_validate_json(json.dumps(c)) for c in cards if c["kind"] == "keypoints"}
