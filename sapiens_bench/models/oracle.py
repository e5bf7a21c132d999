"""Models that see the ground truth: they check the harness, and are never part of ``--models all``.

The oracle scores the best there is. The noisy oracle adds noise that depends on the seed and the sample's key alone,
so that its scores are the same on every machine, in every order.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from sapiens_bench.errors import CardError, UsageError
from sapiens_bench.models.context import ModelContext
from sapiens_bench.types import ModelInput, Prepared


class Oracle:
    """Returns the perfect prediction; has no network, so ``forward`` is never called."""

    def __init__(self, context: ModelContext) -> None:
        if context.targets is None or context.task is None:
            raise UsageError(
                f"{context.variant.id} sees the ground truth, so it works only inside an evaluation "
                f"(`sapiens-bench run --models {context.variant.id}`) and only for cards of kind 'diagnostic'."
            )
        self._targets, self._task = context.targets, context.task

    def prepare(self, x: ModelInput) -> Prepared:
        """No crops; the geometry is the sample's key and the boxes a top-down model would be driven by."""
        return Prepared({}, (x.key, x.boxes_xyxy_px, x.box_scores))

    def forward(self, tensors: dict[str, Any]) -> dict[str, Any]:
        """Nothing to compute."""
        return {}

    def finish(self, outputs: dict[str, Any], geometry: Any) -> Any:
        """The prediction that scores best for the sample, given its boxes."""
        return self._perfect(*geometry)

    def _perfect(self, key: str, boxes: Any, box_scores: Any) -> Any:
        prediction = self._task.perfect(self._targets(key))
        return prediction if self._task.per_box is None else self._task.per_box(prediction, boxes, box_scores)


class NoisyOracle(Oracle):
    """The perfect prediction with the task's seeded noise; its options are those of the noise."""

    def __init__(self, context: ModelContext) -> None:
        super().__init__(context)
        noise = self._task.kind.noise
        if noise is None:
            raise CardError(f"Task {self._task.name!r} has no noise, so no noisy oracle.")
        self._seed, self._noise, self._options = context.seed, noise, context.options

    def finish(self, outputs: dict[str, Any], geometry: Any) -> Any:
        """The best prediction, disturbed by draws that belong to this sample's key."""
        key = geometry[0]
        rng = sample_generator(self._seed, key)
        return self._noise.add(self._perfect(*geometry), self._targets(key), rng, self._options)


def sample_generator(seed: int, key: str) -> np.random.Generator:
    """Draws that depend on seed and key alone: Philox keyed by SHA-256, the same on every machine."""
    digest = hashlib.sha256(f"sapiens-bench/noisy-oracle/{seed}/{key}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
