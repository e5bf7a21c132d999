"""Models named by their file instead of a card: ``net.onnx``, ``net.pt2``, ``code.py:Class``, a hub folder, ``hf:A/B``;
and ``timm:NAME``, a backbone whose head ``probe`` fitted (``own_heads``).

A card is made for each and added to the catalog, so that everything after it is as for any model. What the file says
itself is read from it; what it does not say is asked for by one flag. Nothing is guessed that could move a score in
silence: mean and standard deviation of an input have to be given, for example.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.entries import ModelEntry, without_form
from sapiens_bench.cards.guess_space import USUAL
from sapiens_bench.cards.hub_cache import cached
from sapiens_bench.cards.locate import weight_files
from sapiens_bench.cards.options import overlaid, read_options
from sapiens_bench.cards.schema import Get, HubFile, Licence, ModelCard, Variant, Weights
from sapiens_bench.engine import own_heads
from sapiens_bench.engine.card_ids import free_id, plain_id, shown_title
from sapiens_bench.engine.declared import model_options
from sapiens_bench.engine.own_facts import Found, Named, check_output, of_code, of_onnx, of_program
from sapiens_bench.engine.own_hub import of_hub
from sapiens_bench.engine.request import OwnModel, Request
from sapiens_bench.errors import (
    CheckpointRejected,
    SapiensBenchError,
    UsageError,
    WeightsError,
    WeightsMissing,
    nearest,
)

_GIVEN = re.compile(r"given:(\w+):(.+)")  # made by ``given_name``
_CODE = re.compile(r"(.+\.py):([A-Za-z_]\w*)")
_PROGRAMS = {".pt2": "export", ".pt": "torchscript", ".ts": "torchscript", ".torchscript": "torchscript"}
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_STATES = (".pth", ".ckpt", ".bin", ".safetensors", ".tar")


def register(request: Request, catalog: Catalog) -> None:
    """Add a card for every model that the request names by its file. Adding them again changes nothing.

    A file that cannot be used stops no other model: its card then stands in ``catalog.unusable`` with the reason.

    Raises:
        WeightsMissing: no such file. CheckpointRejected: it cannot be read, or is no network. Either only where no
            other model was named.
        UsageError: something must be said about it that nobody said; names the flag.
        LabelSpaceMismatch: its keypoint set is not clear.
    """
    names = [part.strip() for names in request.models for part in names.split(",")]
    unusable: dict[str, SapiensBenchError] = {}
    found = list(_named(dict.fromkeys(names), catalog, unusable))
    said = request.own
    if not found and not unusable and any(said):
        flag = next(name for name, value in said._asdict().items() if value)
        raise UsageError(f"--{flag} is about models named by their file (--models ./net.onnx), and none is named so.")
    for text in dict.fromkeys(without_form(name)[0] for name in names if name.startswith(own_heads.PREFIX)):
        if text in catalog.aliases:
            continue
        try:
            own_heads.add_head(text, request, catalog)
        except WeightsError as error:
            unusable[text] = error
    for model in found:
        if model.text in catalog.aliases:
            continue
        try:
            asked = replace(model, options=frozenset(request.options))
            catalog.add(_card(asked, request.task, said, catalog), model.path, model.text)
        except WeightsError as error:
            unusable[model.text] = error
    add_unusable(unusable, set(names), request.task, catalog)


def space_notes(request: Request, catalog: Catalog) -> list[str]:
    """A note for each file whose keypoint set was told by its number of points alone, where that is no usual one."""
    notes = []
    for text, name in catalog.aliases.items():
        entry = catalog.models.get(name)
        if entry is None or request.own.space or "[" in text or entry.card.task != "pose":
            continue
        space = entry.card.space_of(entry.variant)
        if space is not None and space not in USUAL.values():
            notes.append(
                f"{entry.title}: its points are taken for those of {space}, as their number or names say; --space (or "
                "predictions[SPACE]:FILE) says another set."
            )
    return notes


def add_unusable(
    unusable: Mapping[str, SapiensBenchError], names: Collection[str], task: str, catalog: Catalog
) -> None:
    """A card for each file that cannot be used, so that it has a row that says so.

    Args:
        unusable: how the request names it -> why.
        names: of every model of the request.

    Raises:
        SapiensBenchError: the first reason, where no other model was named.
    """
    if unusable and unusable.keys() >= set(names):
        raise next(iter(unusable.values()))
    for text, error in unusable.items():
        if text in catalog.aliases:
            continue
        tail = re.sub(r"^(hf|timm|predictions(\[[^\]]*\])?):", "", text)
        is_path = not text.startswith(("hf:", "timm:"))
        title = shown_title(Path(tail).name.replace(".py:", ":") if is_path else tail)
        name = free_id(title.removesuffix(".onnx"), catalog.model_names)
        variant = Variant(id=name, title=title, in_all=False)
        fields: dict[str, Any] = {"schema": "model/1", "id": f"unusable-{name}"[:64], "title": title, "task": task}
        licence = Licence(name="not stated")
        card = ModelCard(**fields, licence=licence, wrapper="predictions", trained_on="", variants=(variant,))
        catalog.add(card, Path(tail).expanduser(), text, unusable=error)


def given_name(content: str, title: str) -> str:
    """How a request names a network that lies in memory (``models/parts/given.py``)."""
    return f"given:{content}:{plain_id(title)}"


def card_for(
    text: str, task: str, said: OwnModel, catalog: Catalog, options: Mapping[str, Any] | None = None
) -> ModelCard:
    """The card of one model named by its file, for ``card init``.

    Args:
        options: of its wrapper, to be written into the card.

    Raises:
        UsageError: ``text`` names no file that could be a model; and as ``register``.
        CardError: an option that the wrapper does not have, or a wrong value.
    """
    if text.startswith(own_heads.PREFIX):
        if said_of := [f"--{name}" for name, value in said._asdict().items() if value]:
            raise UsageError(f"{text}: {', '.join(said_of)} is settled by the head that was fitted on it.")
        return _with_options(own_heads.head_card(text, task, catalog), Path(text), options or {})
    found = _one(text)
    if found is None:
        raise UsageError(f"{text} is no model file: give {WANTED}.")
    found = replace(found, options=frozenset(options or ()))
    return _with_options(_card(found, task, said, catalog), found.path, options or {})


def _with_options(card: ModelCard, path: Path, options: Mapping[str, Any]) -> ModelCard:
    """The card with ``options`` over those of its variants, checked as a run would check them."""
    variants = []
    for variant in card.variants if options else ():
        kind, where = model_options(ModelEntry(card, variant, path)), f"model {variant.id}"
        given = overlaid(kind, variant.options, options, where)
        read_options(kind, given, where)
        variants.append(variant.model_copy(update={"options": given}))
    return card.model_copy(update={"variants": tuple(variants)}) if options else card


WANTED = "NET.onnx, NET.pt2 (torch.export), NET.pt (TorchScript), CODE.py:CLASS, a hub folder, hf:ORG/NAME or timm:NAME"


def _named(names: Iterable[str], catalog: Catalog, unusable: dict[str, SapiensBenchError]) -> Iterator[Named]:
    """The models named by their files; what is wrong with the others goes to ``unusable``."""
    for text in names:
        name = text if Path(text).exists() else without_form(text)[0]
        if name in catalog.models:
            continue
        try:
            found = _one(name)
        except WeightsError as error:
            unusable[name] = error
            continue
        if found is not None:
            yield found


def named_by_file(text: str) -> bool:
    """Whether a request's text means a file or folder with a model; raises what is wrong with it."""
    return _one(text) is not None


def _one(text: str) -> Named | None:
    """What a name of the request means, None when it is the name of a card."""
    if given := _GIVEN.fullmatch(text):
        return Named(text, "given", Path(given[2]), given[1])
    if text.startswith("hf:"):
        return Named(text, "hub", _snapshot(text), text[3:])
    if code := _CODE.fullmatch(text):
        return Named(text, "code", _existing(Path(code[1])), code[2])
    path = Path(text).expanduser()
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        return Named(text, "onnx", _existing(path))
    if suffix in _PROGRAMS:
        return Named(text, "program", _existing(path), _PROGRAMS[suffix])
    if suffix == ".py":
        raise UsageError(f"{text}: say which class of the file it is, as in {text}:MyModel.")
    if suffix in _STATES and path.is_file():
        raise CheckpointRejected(
            f"{text} holds weights without a network. Export it to ONNX or with torch.export, name a class that builds "
            f"it (CODE.py:CLASS), or, for a model that has a card, give --weights-root {path.parent}."
        )
    if path.is_dir() and (path / "config.json").is_file():
        return Named(text, "folder", path.resolve())
    if path.is_dir() and ("/" in text or text.startswith(".")):
        raise CheckpointRejected(f"{text} is a folder without config.json. A model is named by {WANTED}.")
    if "/" in text and ":" not in text and not path.exists():  # no card's id has a slash
        hub = (
            f" If it is a model of the hub, name it hf:{text}."
            if _REPOSITORY.fullmatch(text) and suffix not in _STATES
            else ""
        )
        raise WeightsMissing(f"{path} does not exist.{hub or f' A model is named by {WANTED}.'}")
    return None


def _existing(path: Path) -> Path:
    path = path.expanduser()
    if not path.is_file():
        beside = [each.name for each in path.parent.glob(f"*{path.suffix}")] if path.parent.is_dir() else []
        meant = f" Did you mean {path.parent / close[0]}?" if (close := nearest(path.name, beside)) else ""
        raise WeightsMissing(f"{path} does not exist.{meant}")
    return path.resolve()


def _snapshot(text: str) -> Path:
    try:
        hub = HubFile(repo=text[3:])
    except ValidationError:
        raise UsageError(f"{text}: a hub model is named hf:ORG/NAME.") from None
    folder = cached(hub, None)
    if folder is None:
        files = " ".join(f"--include '{name}'" for name in ("*.json", "model*.safetensors"))
        raise WeightsMissing(
            f"{text} is not in the Hugging Face cache of this machine. Nothing is downloaded unasked: read its licence "
            f"on https://huggingface.co/{hub.repo}, then run `hf download {hub.repo} {files}`."
        )
    return folder.resolve()


def _card(model: Named, task: str, said: OwnModel, catalog: Catalog) -> ModelCard:
    check_output(task, said.output)
    if model.kind == "given":
        found = of_program(model, task, said, catalog)._replace(wrapper="live", weights=None)
        found.options["given"] = model.detail
    elif model.kind == "onnx":
        found = of_onnx(model, task, said, catalog)
    elif model.kind == "program":
        found = of_program(model, task, said, catalog)
    elif model.kind == "code":
        found = of_code(model, task, said, catalog)
    else:
        found = of_hub(model, task, said, catalog)
    return _made(model, task, found, catalog)


def _made(model: Named, task: str, found: Found, catalog: Catalog) -> ModelCard:
    repo = model.detail if model.kind == "hub" else ""
    title = shown_title(repo or (f"{model.path.stem}:{model.detail}" if model.kind == "code" else model.path.name))
    name = free_id(repo.replace("/", "-") if repo else title.removesuffix(".onnx"), catalog.model_names)
    weights = None
    if found.weights is not None:
        try:
            get = Get(how=f"It is {repo or model.path}.", hub=HubFile(repo=repo) if repo else None)
            unpinned = Weights(file=model.path.name, format=found.weights, sha256=None, get=get)  # type: ignore[arg-type]
        except ValidationError:
            raise UsageError(
                f"{model.path}: rename it; its name holds a character that paths of cards may not have."
            ) from None
        place = model.path.parent
        # A program carries code: what is pinned is what the user vouches for with --trust-checkpoint, nothing else.
        weights = unpinned if found.weights in ("torchscript", "export") else _pinned(unpinned, name, title, place)
    variant = Variant(id=name, title=title, weights=weights, options=found.options, in_all=False)
    fields: dict[str, Any] = {"schema": "model/1", "id": f"own-{name}"[:64], "title": title}
    return ModelCard(
        **fields,
        task=task,
        licence=Licence(name="not stated"),
        wrapper=found.wrapper,
        space=found.space,
        input=found.input,
        trained_on="",
        variants=(variant,),
    )


def _pinned(weights: Weights, name: str, title: str, place: Path) -> Weights:
    """With the hash of the file or folder, and of every file in which an ONNX file keeps a part of its weights."""
    found = weight_files(Variant(id=name, title=title, weights=weights), place)
    if found.path is None or found.path.is_dir():
        return weights.model_copy(update={"sha256": found.sha256})
    first, *more = found.parts
    also = {part.path.relative_to(found.path.parent).as_posix(): part.sha256 for part in more}
    return weights.model_copy(update={"sha256": first.sha256, "also": also})
