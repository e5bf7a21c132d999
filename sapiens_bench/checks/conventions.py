"""``verify conventions``: a model under everything its card might have declared."""

from __future__ import annotations

from collections.abc import Callable

from sapiens_bench.engine.build import OpenData, build_model
from sapiens_bench.engine.conventions import N_IMAGES, Conventions, examine, spread
from sapiens_bench.engine.specs import ModelSpec
from sapiens_bench.errors import UsageError
from sapiens_bench.tasks import task_kind
from sapiens_bench.types import Materialised


def verify_conventions(
    spec: ModelSpec,
    open_data: Callable[[], OpenData],
    device: str,
    *,
    limit: int | None = None,
    workers: int = 1,
    n_images: int = N_IMAGES,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Conventions:
    """Load a model and score it under every choice on ``n_images`` samples, evenly spread.

    ``open_data`` is called once it is clear that the model has a convention at all.

    Raises:
        UsageError: the model's task has no conventions, or it is no network.
        WeightsMissing, CheckpointRejected: it cannot be loaded.
    """
    card = spec.entry.card
    if task_kind(card.task).convention is None:
        raise UsageError(f"{spec.id} predicts {card.task}, which has no convention to verify.")
    if card.kind != "network":
        raise UsageError(f"{spec.id} is no network ({card.kind}); its convention is part of this package.")
    model = build_model(spec, device)
    data = open_data()
    n = min(len(data.adapter), limit or len(data.adapter))
    if isinstance(data.adapter, Materialised):
        data.adapter.materialise(spread(n, n_images), workers, on_progress)
    return examine(spec, model, data, device, n_images=n_images, n=n)
