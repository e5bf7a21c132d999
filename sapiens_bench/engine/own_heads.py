"""``timm:NAME`` among the models of a run: the head that ``sapiens-bench probe`` fitted on that backbone, found again.

A backbone alone has no score. Its head is looked for among the cards of ``--cards`` and ``--weights-root``, and where
probes are written by default. Nothing is fitted unasked: without a head the refusal is the command that fits one.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.hub_cache import cached
from sapiens_bench.cards.loading import load_card
from sapiens_bench.cards.schema import HubFile, ModelCard, Variant
from sapiens_bench.engine.card_ids import free_id
from sapiens_bench.engine.request import Request
from sapiens_bench.errors import CardError, UsageError, WeightsMissing

PREFIX = "timm:"
PROBES = Path("results") / "probes"  # where ``probe`` writes without --out
WRAPPERS = ("probe_head", "probe_pose")
TASKS = ("seg", "depth", "normal", "pose")
WEIGHTS = "model.safetensors"  # of timm's repositories on the hub
_MAX_HEADER = 1 << 24
_PATCH = re.compile(r"patch(\d+)")


class FoundHead(NamedTuple):
    """A head's card and file."""

    card: ModelCard
    variant: Variant
    file: Path


def add_head(text: str, request: Request, catalog: Catalog) -> None:
    """Give the card of the head fitted on ``text`` that name.

    Raises:
        WeightsMissing: there is none; the message is the command that fits one.
        UsageError: there are several, or no probe is ever fitted for the task.
        UnknownName: timm has no such network.
    """
    head = _the_head(text, request, catalog)
    catalog.add(_renamed(head, text, catalog), head.file, text)


def head_card(text: str, task: str, catalog: Catalog) -> ModelCard:
    """The card of the head fitted on ``text``, for ``card init``. Raises: as ``add_head``."""
    return _renamed(_the_head(text, Request(task, (text,)), catalog), text, catalog)


def add_heads(names: Iterable[str], task: str | None, weights_root: Path | None, catalog: Catalog) -> None:
    """As ``add_head`` for every backbone among the names of a profile, which may leave the task open.

    Raises:
        UsageError: heads are fitted for several tasks, and none is said; and as ``add_head``.
    """
    for text in dict.fromkeys(name for name in names if name.startswith(PREFIX)):
        requests = [Request(each, (text,), weights_root=weights_root) for each in ([task] if task else TASKS)]
        having = [request for request in requests if any(_heads(text, request, catalog))] or requests[:1]
        if len(having) > 1:
            raise UsageError(f"{text}: heads are fitted for {', '.join(r.task for r in having)}; say one as --task.")
        add_head(text, having[0], catalog)


def _the_head(text: str, request: Request, catalog: Catalog) -> FoundHead:
    if request.task not in TASKS:
        raise UsageError(f"{text}: heads are fitted for {', '.join(TASKS)}, not for {request.task}.")
    heads = {head.file: head for head in _heads(text, request, catalog)}
    if not heads:
        raise WeightsMissing(_how_to_fit(text, request.task))
    if len(heads) > 1:
        shown = "; ".join(f"{head.variant.id} ({file})" for file, head in sorted(heads.items()))
        raise UsageError(
            f"{text}: {len(heads)} heads are fitted for {request.task}: {shown}. Name one by its id, with its folder "
            "as --cards and --weights-root."
        )
    (head,) = heads.values()
    return head


def _heads(text: str, request: Request, catalog: Catalog) -> Iterator[FoundHead]:
    for card, folder in _cards(request, catalog):
        for variant in card.variants:
            file = folder / variant.weights.file if variant.weights is not None else None
            if file is not None and backbone_of(file) == text:
                yield FoundHead(card, variant, file.resolve())


def _cards(request: Request, catalog: Catalog) -> Iterator[tuple[ModelCard, Path]]:
    """Cards of heads for the task, with their folders."""
    yield from (
        (entry.card, entry.path.parent)
        for entry in catalog.models.values()
        if entry.card.wrapper in WRAPPERS and entry.card.task == request.task
    )
    folders = [*sorted(PROBES.glob("*")), *([request.weights_root] if request.weights_root else [])]
    for path in _yaml_files(folders):
        try:
            card = load_card(path)
        except CardError:
            continue  # no card of ours; one of --cards is told
        if isinstance(card, ModelCard) and card.wrapper in WRAPPERS and card.task == request.task:
            yield card, path.parent


def _yaml_files(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        yield from sorted(folder.glob("*.yaml"))


def backbone_of(head: Path) -> str:
    """The backbone that a head's file names; "" of any other file."""
    try:
        with head.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length <= _MAX_HEADER else {}
        return str(json.loads(header["__metadata__"]["probe"])["backbone"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def _renamed(head: FoundHead, text: str, catalog: Catalog) -> ModelCard:
    """The head's card with an id of this run, which also looks for the backbone's file in the cache of the hub."""
    name = free_id(head.variant.id, catalog.model_names)
    weights = head.variant.weights
    assert weights is not None
    hub = HubFile(repo=_repository(text)) if weights.also and weights.get.hub is None else weights.get.hub
    how = (
        f"It is the backbone's own file: `{_download(text)}`, or give its folder as --weights-root."
        if weights.also
        else weights.get.how
    )
    found = weights.model_copy(update={"get": weights.get.model_copy(update={"hub": hub, "how": how})})
    variant = head.variant.model_copy(update={"id": name, "weights": found, "in_all": False})
    return head.card.model_copy(update={"id": f"own-{name}"[:64], "variants": (variant,)})


def _repository(text: str) -> str:
    return f"timm/{text.removeprefix(PREFIX)}"


def _download(text: str) -> str:
    return f"hf download {_repository(text)} {WEIGHTS}"


def _how_to_fit(text: str, task: str) -> str:
    from sapiens_bench.models.parts.trunk_timm import check_name

    check_name(text.removeprefix(PREFIX))
    here = cached(HubFile(repo=_repository(text)), WEIGHTS)
    patch = _PATCH.search(text)
    sides = [side // int(patch[1]) * int(patch[1]) for side in (256, 192)] if patch else []
    size = f" --input {sides[0]}x{sides[1]}" if sides and sides != [256, 192] else ""
    command = (
        f"sapiens-bench probe --backbone {text} --backbone-weights {shlex.quote(str(here or 'FILE'))} --task {task} "
        f"--train synthetic-humans:train --eval synthetic-humans{size}"
    )
    found = (
        f"{text} is a backbone, and no head for {task} has been fitted on it in {PROBES}, --cards or --weights-root. "
        f"Fit and score one: `{command}`."
    )
    if here is not None:
        return found
    return (
        f"{found} FILE is its weights: read their licence on https://huggingface.co/{_repository(text)}, then "
        f"`{_download(text)}` prints where it lies; `--backbone-weights random` draws them, to try the way."
    )
