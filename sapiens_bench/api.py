"""The Python API: what ``import sapiens_bench`` offers beside the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sapiens_bench.adapters.context import MAX_PIXELS
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.folders import cache_root
from sapiens_bench.engine.again import with_added
from sapiens_bench.engine.build import build_model
from sapiens_bench.engine.choices import Engine, ModelChoice
from sapiens_bench.engine.detect import make_box_files
from sapiens_bench.engine.device import resolve_device
from sapiens_bench.engine.events import Event, ignore
from sapiens_bench.engine.model_specs import one_model
from sapiens_bench.engine.plan import resolve
from sapiens_bench.engine.request import OwnModel, Request, parse_trust
from sapiens_bench.engine.run import run
from sapiens_bench.errors import UnknownName, UsageError
from sapiens_bench.stats.draws import OF_SCORES
from sapiens_bench.store.addresses import staging, url_of
from sapiens_bench.store.record import CellRecord, RunRecord, read_run
from sapiens_bench.store.remote import mirrored
from sapiens_bench.types import Model

if TYPE_CHECKING:
    import pandas as pd

Given = str | Callable[..., Any]  # a name, or a network of this process


def evaluate(
    *,
    task: str,
    models: Given | Sequence[Given] = ("all",),
    model: Given | None = None,
    datasets: str | Sequence[str] = (),
    protocol: str | None = None,
    split: str = "",
    limit: int | None = None,
    select: str = "",
    boxes: str = "",
    out: Path | str | None = None,
    device: str = "auto",
    precision: str = "fp32",
    batch_size: int | None = None,
    prefetch: int | None = None,
    workers: int | None = None,
    threads: int | None = None,
    engine: Engine = "local",
    gpus_per_worker: float | None = None,
    address: str = "",
    seed: int = 0,
    n_boot: int = OF_SCORES,
    shard_size: int = 64,
    data_root: Path | str | None = None,
    weights_root: Path | str | None = None,
    cards: Path | str | Sequence[Path | str] = (),
    options: Mapping[str, Any] | None = None,
    data_options: Mapping[str, Any] | None = None,
    scoring: Mapping[str, Any] | None = None,
    trust: Mapping[str, str] | Sequence[str] = (),
    max_errors: float | None = None,
    max_pixels: int = MAX_PIXELS,
    save_preds: bool = True,
    save_maps: bool = False,
    space: str = "",
    input: str = "",
    normalise: str = "",
    output: str = "",
    on_event: Callable[[Event], None] = ignore,
) -> RunRecord:
    """Score models on data sets.

    Args:
        task: pose, seg, depth, normal, or a plug-in's.
        models: ids, families, globs, files (NET.onnx, CODE.py:CLASS ...), or networks in memory: functions of one
            tensor [B, 3, H, W]; "all" is every network and floor of the task.
        model: one of them, instead of ``models``.
        datasets: ids; empty means every data set of the task that is on this machine.
        protocol: None means each data set's default.
        split: part of the data set, e.g. "tiny"; "" as the protocol says.
        limit: only the first images of each set.
        select: only images of which all of this holds, e.g. "box_score>0.9,box_px>300" (adapters/selection/rule.py).
        boxes: pose: gt, jitter:FRACTION, detector:ID[,SCORE], or a box file; "" as the protocol says.
        out: run folder, or the address of one on an object store (``s3://...``); None names one after the request below
            ``results/runs``, so that the same call resumes.
        batch_size: crops per forward pass; None: 8 on a CPU, 32 on a GPU.
        prefetch: batches queued on the device ahead of the one that is waited for; None: 1 on a GPU and for small
            networks whose crops run beside each other on a CPU, else 0.
        workers: loader threads; threads: cores to be used. None: by the cores that this process may use.
        engine: "local", this process; "ray": ``workers`` processes (None: as many as there is room for), each with
            ``gpus_per_worker`` GPUs, on the cluster at ``address`` or one of this machine (docs/cluster.md).
        n_boot: bootstrap draws of the intervals; 0: none.
        cards: folders or files with cards of your own.
        options: for the models, over their cards. data_options: for the data sets, over their protocols.
        scoring: scoring keys, over those of the protocols.
        trust: weight files you vouch for, PATH:SHA256; they may carry code.
        max_errors: share of images that may fail; None: 1 %.
        save_maps: keep dense predictions as PNG.
        space, input, normalise, output: of models that are named by their file (docs/own_model.md).
        on_event: called with each event of the run (``sapiens_bench.engine.events``).

    Returns:
        The record that is also in ``run.json``: one ``CellRecord`` per model and data set, with scores and intervals.

    Raises:
        SapiensBenchError: see ``plan.resolve`` and ``run.run``.

    Example:
        >>> import sapiens_bench
        >>> record = sapiens_bench.evaluate(task="pose", models=["movenet-thunder"], limit=8)
        >>> cell = record.cells[0]
        >>> cell.scores[cell.headline].value
    """
    if model is not None and models != ("all",):
        raise UsageError("Give either model or models.")
    with _named(models if model is None else model) as names:
        request = Request(
            task=task,
            models=names,
            datasets=as_texts(datasets),
            protocol=protocol,
            split=split,
            limit=limit,
            select=select,
            boxes=boxes,
            out=None if out is None else Path(out),
            device=device,
            precision=precision,
            batch_size=batch_size,
            prefetch=prefetch,
            workers=workers,
            threads=threads,
            engine=engine,
            gpus_per_worker=gpus_per_worker,
            address=address,
            seed=seed,
            n_boot=n_boot,
            shard_size=shard_size,
            data_root=None if data_root is None else Path(data_root),
            weights_root=None if weights_root is None else Path(weights_root),
            cards=tuple(Path(card) for card in ([cards] if isinstance(cards, str | Path) else cards)),
            options=dict(options or {}),
            data_options=dict(data_options or {}),
            scoring=dict(scoring or {}),
            trust=parse_trust(trust if isinstance(trust, Mapping) else tuple(trust)),
            max_errors=max_errors,
            max_pixels=max_pixels,
            save_preds=save_preds,
            save_maps=save_maps,
            own=OwnModel(space, input, normalise, output),
        )
        url = "" if request.out is None else url_of(request.out)
        if not url:
            return _evaluated(request, on_event)
        with mirrored(url, staging(url, cache_root())) as local:
            return _evaluated(replace(request, out=local), on_event)


def _evaluated(request: Request, on_event: Callable[[Event], None]) -> RunRecord:
    request = with_added(request)
    catalog = Catalog.load(request.cards)
    boxes_made = make_box_files(request, catalog, on_event)
    return run(resolve(request, catalog, boxes_made), on_event)


@contextmanager
def _named(models: Given | Sequence[Given]) -> Iterator[tuple[str, ...]]:
    """The models as a request names them; networks in memory are lent to the run for so long.

    Raises:
        UsageError: something that is neither a name nor a network.
    """
    found: list[Any] = [models] if isinstance(models, str) or callable(models) else list(models)
    if wrong := [each for each in found if not isinstance(each, str) and not callable(each)]:
        raise UsageError(f"models are named by text, or are networks (docs/own_model.md), found {wrong[0]!r:.80}.")
    networks = [each for each in found if not isinstance(each, str)]
    if not networks:
        yield tuple(str(each) for each in found)
        return
    from sapiens_bench.engine.own_models import given_name
    from sapiens_bench.models.parts.given import lent

    with lent(networks) as contents:
        waiting = iter(contents)
        yield tuple(
            each if isinstance(each, str) else given_name(next(waiting), getattr(each, "__name__", type(each).__name__))
            for each in found
        )


def as_texts(given: str | Sequence[str]) -> tuple[str, ...]:
    """One name or several.

    Raises:
        UsageError: something that is no name.
    """
    found = (given,) if isinstance(given, str) else tuple(given)
    for name in found:
        if not isinstance(name, str):
            raise UsageError(f"data sets are named by text, found {type(name).__name__}.")
    return found


def rows(run_folder: Path | str, cell: str) -> pd.DataFrame:
    """One line per image of a cell of a run that was made before.

    Args:
        run_folder: what ``run`` printed.
        cell: the model's id; where it stands in several cells, ``DATASET/MODEL`` or ``DATASET/PROTOCOL/MODEL``.

    Returns:
        Columns as in ``store/frames.py``: place and status of the image, then sums and counts of each metric.

    Raises:
        StoreError: no run there, or its rows are damaged.
        UnknownName: no such cell; UsageError: the name stands for several.

    Example:
        >>> import sapiens_bench.api
        >>> frame = sapiens_bench.api.rows("results/runs/NAME", "movenet-thunder")
    """
    record = read_run(Path(run_folder))
    named: dict[str, list[CellRecord]] = {}
    for each in record.cells:
        for name in (each.model, f"{each.dataset}/{each.model}", f"{each.dataset}/{each.protocol}/{each.model}"):
            named.setdefault(name, []).append(each)
    if cell not in named:
        raise UnknownName("cell", cell, named, f"{run_folder} has no other cells.")
    if len(named[cell]) > 1:
        full = ", ".join(f"{each.dataset}/{each.protocol}/{each.model}" for each in named[cell])
        raise UsageError(f"{cell!r} stands for several cells of {run_folder}: {full}. Name one of them.")
    return record.rows(named[cell][0])


def load_model(
    name: str,
    *,
    device: str = "cpu",
    precision: str = "fp32",
    weights_root: Path | str | None = None,
    cards: Sequence[Path | str] = (),
    trust: Sequence[str] = (),
    **options: Any,
) -> Model:
    """Build one model by its id, weights verified; ``options`` overlay those of the card.

    ``trust`` holds texts PATH:SHA256, as in ``evaluate``.

    Raises:
        UnknownName: no such model; CardError: no such option; WeightsMissing, CheckpointRejected: its weights are
        absent or unusable.

    Example:
        >>> import sapiens_bench
        >>> model = sapiens_bench.load_model("movenet-thunder")
        >>> prepared = model.prepare(model_input)   # a sapiens_bench.types.ModelInput
    """
    catalog = Catalog.load([Path(card) for card in cards])
    choice = ModelChoice(
        task=catalog.model(name).card.task,
        patterns=(name,),
        options=options,
        weights_root=None if weights_root is None else Path(weights_root),
        trust=parse_trust(tuple(trust)),
        precision=precision,
        seed=0,
    )
    spec = one_model(name, choice, catalog)
    return build_model(spec, device if device == "meta" else resolve_device(device, spec.precision))
