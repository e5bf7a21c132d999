"""Runs that go on from runs: the request of a record, models that join a finished run, parts of a run."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from sapiens_bench.engine.request import Request
from sapiens_bench.errors import StoreError, UsageError
from sapiens_bench.store.record import RunRecord, read_run

# What belongs to the machine at hand: a new request may say it anew without asking another question.
_OF_THIS_MACHINE = (
    "prefetch", "engine", "gpus_per_worker", "address", "workers", "threads", "weights_root", "trust", "max_errors",
    "own",
)  # fmt: skip
_OF_RAY = ("engine", "gpus_per_worker", "address", "workers")  # of a record: its cluster need not be there any more
NO_PART = (0, 0)  # of a run: nothing is computed, what is there is scored


def request_of(record: RunRecord, **changes: Any) -> Request:
    """The request that a record answers.

    Args:
        changes: fields that are to be others, by their names in ``Request``.

    Raises:
        StoreError: the record holds no request that this version understands.
    """
    known = {field.name for field in fields(Request)} - set(_OF_RAY if record.request.get("engine") == "ray" else ())
    said = {name: value for name, value in record.request.items() if name in known and value is not None}
    try:
        return Request(**{"task": record.task, **said, **changes})
    except TypeError as error:
        raise StoreError(f"The record's request cannot be read ({error}).") from None


def with_added(request: Request) -> Request:
    """The request as it is, or, where a model is written ``+NAME``, that of the run in its folder with NAME added.

    Everything that can move a row is taken from that run; the device and the like may be said anew.

    Raises:
        UsageError: ``+NAME`` without a run folder, or beside models without a plus. StoreError: no run is there.
    """
    names = [part.strip() for text in request.models for part in text.split(",") if part.strip()]
    added = [name.removeprefix("+").strip() for name in names if name.startswith("+")]
    if not added:
        return request
    if len(added) < len(names) or not all(added):
        raise UsageError("--models +NAME adds to a finished run: write the plus before every name, or before none.")
    if request.out is None:
        raise UsageError(f"--models +{added[0]} adds to a finished run: name its folder with --out.")
    record = read_run(request.out)
    if request.task not in ("", record.task):
        raise UsageError(f"{request.out} is a run of {record.task}, not of {request.task}.")
    blank = Request(task=record.task)
    new = {name: value for name in _OF_THIS_MACHINE if (value := getattr(request, name)) != getattr(blank, name)}
    before = request_of(record)
    return replace(
        before,
        models=tuple(dict.fromkeys((*before.models, *added))),
        cards=tuple(dict.fromkeys((*before.cards, *request.cards))),
        out=request.out,
        part=request.part,  # that of the record was its own: a merged run computed nothing
        device=request.device,
        batch_size=request.batch_size,
        command=request.command,
        **new,
    )


def parse_part(text: str) -> tuple[int, int] | None:
    """``"2/8"`` -> (2, 8): the second of eight parts; "" -> None.

    Raises:
        UsageError: not of that form, or no such part.
    """
    if not text:
        return None
    first, slash, last = text.partition("/")
    if not slash or not first.strip().isdecimal() or not last.strip().isdecimal():
        raise UsageError(f"--shard {text}: write I/N, e.g. 2/8 for the second of eight parts.")
    i, n = int(first), int(last)
    if not 1 <= i <= n:
        raise UsageError(f"--shard {text}: parts are counted from 1 to {n}.")
    return i, n
