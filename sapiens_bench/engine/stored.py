"""Files named in a request instead of cards: ``predictions:PATH`` for a model, ``truth:PATH`` for a data set.

A card is made for each and added to the catalog, so that everything after it is as for any model and data set. Poses
lie in files; depth, normals and labels in folders. ``predictions[SPACE]:PATH`` and ``truth[SPACE]:PATH`` say the
keypoint or label set where the file does not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sapiens_bench.adapters.coco.peek import peek
from sapiens_bench.cards.catalog import Catalog, ModelEntry
from sapiens_bench.cards.guess_space import guessed_space
from sapiens_bench.cards.locate import weight_files
from sapiens_bench.cards.schema import DatasetCard, EvalProtocol, Get, Licence, ModelCard, SpaceCard, Variant, Weights
from sapiens_bench.engine.card_ids import free_id, plain_id, shown_title
from sapiens_bench.engine.own_models import add_unusable
from sapiens_bench.engine.request import Request
from sapiens_bench.errors import (
    CheckpointRejected,
    SapiensBenchError,
    UnknownName,
    UsageError,
    WeightsError,
    WeightsMissing,
)
from sapiens_bench.models.result_files import points_of
from sapiens_bench.tasks import task_names

PROTOCOL = "people"
_NAMED = re.compile(r"(predictions|truth)(?:\[([^\]]*)\])?:(.+)", re.DOTALL)
_NOT_STATED = Licence(name="not stated")


def register(request: Request, catalog: Catalog) -> None:
    """Add a card for every file that the request names. Adding them again changes nothing.

    Raises:
        DataMissing, DatasetRejected, CheckpointRejected: a file cannot be read.
        LabelSpaceMismatch: its keypoint set is not clear.
        UsageError: files of another task, or boxes "none" for a model that needs boxes.
    """
    if request.task == "pose":
        _register_poses(request, catalog)
    else:
        _register_maps(request, catalog)
    if request.boxes == "none":
        _refuse_top_down(request, catalog)


def _register_poses(request: Request, catalog: Catalog) -> None:
    for alias, space, path in _files(request.datasets, "truth"):
        if alias not in catalog.aliases:
            catalog.add(_truth_card(path, space, request, catalog), path, alias)
    known = list(_spaces_of(request, catalog))
    unusable: dict[str, SapiensBenchError] = {}
    for alias, space, path in _files(request.models, "predictions"):
        if alias in catalog.aliases:
            continue
        if not path.exists():
            what = "a results file, or a folder of them"
            unusable[alias] = WeightsMissing(f"{path} does not exist: predictions:FILE names {what}.")
            continue
        chosen = space or _results_space(path, known, catalog, is_alone=len(request.models) == 1)
        catalog.add(_results_card(path, request.task, chosen, catalog), path, alias)
    add_unusable(unusable, request.models, request.task, catalog)


def _register_maps(request: Request, catalog: Catalog) -> None:
    """Folders of depth, normals or labels."""
    truths = [named for named in _files(request.datasets, "truth") if named[0] not in catalog.aliases]
    results = [named for named in _files(request.models, "predictions") if named[0] not in catalog.aliases]
    if not truths and not results:
        return
    from sapiens_bench.adapters.dense import score as maps  # its codecs take time to load

    if not maps.is_scored(request.task):
        scored = ("pose", *(name for name in task_names() if maps.is_scored(name)))
        raise UnknownName("task", request.task, scored, f"{', '.join(scored)} are scored from files.")
    is_seg = request.task == "seg"
    if not is_seg and (named := next((named for named in truths + results if named[1]), None)):
        raise UsageError(f"{named[0]}: {request.task} is scored in no set, so none is to be named ({named[1]!r}).")
    spaces = [maps.truth_space(path, space, request.data_options) if is_seg else "" for _, space, path in truths]
    known = [*spaces, *(space.id for space in _spaces_of(request, catalog))] if is_seg else []
    unusable: dict[str, SapiensBenchError] = {}
    for alias, space, path in results:
        chosen = space or next(iter(known), "")
        if is_seg and not chosen:
            raise UsageError(f"{alias}: name the label set of the predictions, as in predictions[body28]:{path}.")
        try:
            real = _real(path)
            catalog.add(_results_card(real, request.task, chosen, catalog), real, alias)
        except WeightsError as error:
            unusable[alias] = error
    add_unusable(unusable, request.models, request.task, catalog)
    pictures = bool(truths) and not all(map(_is_results, catalog.select(request.task, request.models)))
    for (alias, _, path), space in zip(truths, spaces, strict=True):
        card_id = free_id(_real(path).name, catalog.datasets)
        card = maps.truth_card(
            request.task, path, card_id, space=space, options=request.data_options, pictures=pictures
        )
        catalog.add(card, maps.truth_root(request.task, path)[0], alias)


def needs_pictures(request: Request, catalog: Catalog) -> bool:
    """Whether any model looks at pictures; stored poses do not."""
    return request.task != "pose" or not all(map(_is_results, catalog.select(request.task, request.models)))


def _refuse_top_down(request: Request, catalog: Catalog) -> None:
    entries = catalog.select(request.task, request.models)
    fits = request.task == "pose"
    if wrong := [entry.id for entry in entries if not (fits and (_is_results(entry) or needs_no_boxes(entry)))]:
        raise UsageError(
            f"--boxes none is for results made elsewhere and for models whose card says boxes: none; {wrong[0]} needs "
            "boxes."
        )


def needs_no_boxes(entry: ModelEntry) -> bool:
    """Whether a card says that the model finds people itself."""
    return bool(entry.variant.options.get("boxes") == "none")


def _is_results(entry: ModelEntry) -> bool:
    """Stored results, or a file that cannot be used at all: neither looks at a picture, or needs a box."""
    is_unusable = entry.card.wrapper == "predictions" and entry.variant.weights is None
    return is_unusable or (entry.variant.weights is not None and entry.variant.weights.format == "predictions")


def results_root(entry: ModelEntry) -> Path | None:
    """Folder of the results that a card was made for; None for cards that somebody wrote."""
    weights = entry.variant.weights
    is_made = weights is not None and entry.path.name == weights.file
    return entry.path.parent if is_made else None


def truth_root(card: DatasetCard, path: Path, data_root: Path | None) -> Path | None:
    """Root of a data set whose card was made for the file or folder ``path``; None for cards that somebody wrote."""
    if path.is_dir():  # cards that somebody wrote are files
        return path
    is_made = set(card.protocols) == {PROTOCOL} and path.name == card.title
    return _base(path, data_root) if is_made else None


def _real(path: Path) -> Path:
    """``Path.resolve``, which raises for a link that leads to itself before Python 3.13."""
    return Path(os.path.realpath(path))


def _base(path: Path, root: Path | None) -> Path:
    """``--data-root`` where the annotation file lies in it, else the file's own folder."""
    return root if root is not None and _real(path).is_relative_to(_real(root)) else path.parent


def _files(names: Iterable[str], kind: str) -> Iterator[tuple[str, str, Path]]:
    """(name in the request, set or "", path) of every file or folder of a kind."""
    for name in names:
        found = _NAMED.fullmatch(name)
        if found is not None and found[1] == kind:
            yield name, found[2] or "", Path(found[3]).expanduser()


def _spaces_of(request: Request, catalog: Catalog) -> Iterator[SpaceCard]:
    """Sets that the request's data sets are scored in, those of files that are not registered yet left out."""
    for name in (
        part
        for text in request.datasets
        for part in ([text] if text in catalog.aliases else () if _NAMED.fullmatch(text) else text.split(","))
    ):
        card = catalog.dataset(name)
        protocol = card.protocols.get(request.protocol or card.default_protocol(request.task) or "")
        if protocol is not None and protocol.space is not None:
            yield catalog.space(protocol.space)


def _truth_card(path: Path, space: str, request: Request, catalog: Catalog) -> DatasetCard:
    seen = peek(path, request.data_options)
    if space:
        chosen = catalog.space(space)
    else:
        chosen = catalog.space(seen.space) if seen.space else guessed_space(
            seen.n_points, seen.names, catalog.spaces, str(path)
        )  # fmt: skip
    annotations = _real(path).relative_to(_real(_base(path, request.data_root))).as_posix()
    protocol = EvalProtocol(
        task="pose",
        title=f"{len(chosen.names)} points ({chosen.id})",
        space=chosen.id,
        options={"annotations": annotations, "renumber": True, "category": seen.category},
        default=True,
    )
    fields: dict[str, Any] = {"schema": "dataset/1", "id": free_id(path.stem, catalog.datasets), "title": path.name}
    return DatasetCard(
        **fields,
        licence=_NOT_STATED,
        get=f"It is the file {path.name}.",
        adapter="coco_keypoints",
        protocols={PROTOCOL: protocol},
    )


def _results_card(path: Path, task: str, space: str, catalog: Catalog) -> ModelCard:
    """The card of results at ``path``; ``space`` is the set they are in, "" where the task has none."""
    if task != "pose" and not path.is_dir():
        raise WeightsMissing(f"{path} is no folder: predictions of {task} are a folder with a file for each sample.")
    title = shown_title(path.stem if path.is_file() else path.name)
    if path.is_dir() and plain_id(path.name) in catalog.models:  # mine/depth, yours/depth
        title = shown_title(f"{path.parent.name}/{path.name}")
    name = free_id(title, catalog.model_names)
    try:
        unpinned = Weights(file=path.name, format="predictions", sha256=None, get=Get(how=f"It is {path}."))
    except ValidationError:
        raise UsageError(
            f"{path}: rename it; {path.name!r} holds a character that paths of cards may not have."
        ) from None
    sha256 = weight_files(Variant(id=name, title=title, weights=unpinned), path.parent).sha256
    variant = Variant(id=name, title=title, weights=unpinned.model_copy(update={"sha256": sha256}), in_all=False)
    fields: dict[str, Any] = {"schema": "model/1", "id": f"results-{name}"[:64], "title": shown_title(path.name)}
    return ModelCard(
        **fields,
        task=task,
        licence=_NOT_STATED,
        wrapper="predictions",
        space=space or None,
        trained_on="",
        variants=(variant,),
    )


def _results_space(path: Path, known: list[SpaceCard], catalog: Catalog, *, is_alone: bool) -> str:
    """The set that the file names, else that of a data set with as many points, else the usual one of that many.

    A file that cannot be read stops no other: the cell that opens it is then refused, and says why.
    """
    try:
        n_points, names = points_of(path)
    except CheckpointRejected:
        if is_alone or not known:
            raise
        return known[0].id
    for space in known if not names else ():
        if len(space.names) == n_points:
            return space.id
    return guessed_space(n_points, names, catalog.spaces, str(path)).id
