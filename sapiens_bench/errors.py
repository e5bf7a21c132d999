"""Every exception that sapiens-bench raises on purpose.

SapiensBenchError                 exit 2 unless noted
├── UsageError                    the request makes no sense
│   ├── UnknownName               no such model, task, data set, protocol; carries the nearest valid names
│   └── DeviceError               device missing, or precision not supported by it
├── CardError                     a card (YAML) is malformed; names file and key
├── LabelSpaceMismatch            no map between the model's and the data set's keypoint or label set
├── DataError
│   ├── DataMissing               files of a data set are not where they should be; says how to get them
│   └── DatasetRejected           an annotation file is malformed; carries every fault found
├── WeightsError
│   ├── WeightsMissing            weight file not on this machine; says how to get it
│   └── CheckpointRejected        weight file unusable: truncated, wrong task or size, missing keys, NaN ...
├── SecurityRefusal               exit 5
│   ├── ChecksumMismatch          sha256 differs from the card
│   ├── UntrustedCheckpoint       would have to run code from the file
│   └── PathEscape                a path leaves its declared root
├── ShapeError                    an array has the wrong shape or dtype (a programming error at a boundary)
├── StoreError
│   ├── FingerprintMismatch       rows in the folder come from another experiment; names the differing field
│   ├── FolderInUse               another run works in the folder; names its process
│   ├── ShardDamaged              the bytes of a shard are not those that were committed, or are no shard
│   ├── IncompleteRun             exit 4: planned rows and rows on disk differ
│   └── StorageFull               exit 4: no space or no permission; what is committed stays
├── MachineFault                  exit 4: this machine ran out of something; no image is charged, the command resumes
├── VerificationFailed            exit 1: something that was compared differs
├── WorkerDied                    exit 4: a process that works for this one was killed, twice in a row
├── TooManyErrors                 exit 3: error rows above --max-errors
├── ModelsRefused                 exit 6: the run is complete, but one or more of its models were refused
├── Interrupted                   exit 130 / 143: Ctrl-C or SIGTERM; the same command resumes
└── SampleFault                   never leaves the engine: one image's fault, becomes that row's error
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher, get_close_matches
from typing import ClassVar, Literal

_LISTED = 12  # names in one message


class SapiensBenchError(Exception):
    """Root. ``exit_code`` is what the command line returns; ``str(error)`` is shown to the user as it is.

    ``fix``: what to do, apart from the reason, where whoever raises it can say so.
    """

    exit_code: ClassVar[int] = 2
    fix: str = ""


class UsageError(SapiensBenchError):
    """The request makes no sense."""


class UnknownName(UsageError):
    """A name that no card or table has.

    Args:
        kind: what was looked up, e.g. ``"model"``.
        name: what the user wrote.
        known: every valid name; the nearest are put into the message.
        hint: one more sentence, e.g. which command lists the names.
        is_whole: every valid name is told, in its order: of a short fixed list that no command lists.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "", *, is_whole: bool = False) -> None:
        given = list(known)
        names = sorted(given)
        self.kind, self.name, self.nearest = kind, name, nearest(name, names)
        likest = f"Did you mean {' or '.join(repr(n) for n in self.nearest)}?" if self.nearest else ""
        if is_whole:
            advice = f"{likest} Known: {', '.join(given)}.".strip()
        elif likest:
            advice = likest
        else:
            more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
            advice = f"Known: {', '.join(_likest(name, names)) + more if names else 'none'}."
        super().__init__(" ".join(part for part in (f"Unknown {kind} {name!r}.", advice, hint) if part))


def _likest(name: str, known: Sequence[str]) -> list[str]:
    """All of a few names, as they come; of many the likest, so that no message is a page long."""
    if len(known) <= _LISTED:
        return list(known)
    return sorted(known, key=lambda k: -SequenceMatcher(None, name.lower(), k.lower()).ratio())[:_LISTED]


def nearest(name: str, known: Sequence[str], limit: int = 3) -> list[str]:
    """Up to ``limit`` of ``known`` that look like ``name``, best first, case ignored."""
    by_lower = {k.lower(): k for k in known}
    found = get_close_matches(name.lower(), list(by_lower), n=limit, cutoff=0.5)
    if not found:
        found = [low for low in by_lower if name and (name.lower() in low or low in name.lower())][:limit]
    return [by_lower[f] for f in found]


class DeviceError(UsageError):
    """Device missing, or the precision is not supported by it."""


class CardError(SapiensBenchError):
    """A card is malformed."""


class LabelSpaceMismatch(SapiensBenchError):
    """No explicit map between two keypoint or label sets; never guessed by index."""


class DataError(SapiensBenchError):
    """Something about a data set."""


class DataMissing(DataError):
    """Files of a data set are not where they should be."""


class DatasetRejected(DataError):
    """An annotation file is malformed.

    Args:
        path: the file.
        faults: one sentence each; at most 20 of each kind are worth passing.
        remedy: what to do.
    """

    def __init__(self, path: str, faults: Sequence[str], remedy: str = "") -> None:
        self.path, self.faults = path, tuple(faults)
        lines = [f"{path} is refused:", *(f"  - {fault}" for fault in faults)]
        super().__init__("\n".join([*lines, remedy] if remedy else lines))


class WeightsError(SapiensBenchError):
    """Something about a weight file."""


class WeightsMissing(WeightsError):
    """The weight file is not on this machine."""


class CheckpointRejected(WeightsError):
    """The weight file cannot be used."""


class SecurityRefusal(SapiensBenchError):
    """Refused for security."""

    exit_code = 5


class ChecksumMismatch(SecurityRefusal):
    """The bytes are not those the card pins."""


class UntrustedCheckpoint(SecurityRefusal):
    """Opening the file would run code it carries."""


class PathEscape(SecurityRefusal):
    """A path leaves its declared root."""


class ShapeError(SapiensBenchError):
    """An array has the wrong shape or dtype."""


class StoreError(SapiensBenchError):
    """Something about a run folder."""


class FingerprintMismatch(StoreError):
    """The rows in the folder come from another experiment."""


class FolderInUse(StoreError):
    """Another run works in the folder."""


class ShardDamaged(StoreError):
    """A shard is not what was committed; the same command sets it aside and computes it again."""


class IncompleteRun(StoreError):
    """Planned rows and rows on disk differ."""

    exit_code = 4


class StorageFull(StoreError):
    """No space left, or no permission to write."""

    exit_code = 4


class MachineFault(SapiensBenchError):
    """This machine ran out of memory, disk or file handles: no image's fault, so nothing of it becomes a row."""

    exit_code = 4


class ProbeDiverged(SapiensBenchError):
    """A training came to a loss that is not finite; its last good checkpoint, if there is one, is kept."""


class VerificationFailed(SapiensBenchError):
    """Something that was compared differs."""

    exit_code = 1


class WorkerDied(SapiensBenchError):
    """A process that works for this one was killed, and its successor with the same work too: memory ran out?"""

    exit_code = 4


class TooManyErrors(SapiensBenchError):
    """More error rows than ``--max-errors`` allows."""

    exit_code = 3


class ModelsRefused(SapiensBenchError):
    """The run is complete, but one or more of the models that were asked for were refused; the others ran."""

    exit_code = 6


class Interrupted(SapiensBenchError):
    """SIGINT or SIGTERM arrived; committed shards stay and the same command resumes."""

    exit_code = 130


class SampleFault(SapiensBenchError):
    """One image's fault. The engine turns it into that image's error row; it never ends a run.

    Args:
        code: dotted (``image.truncated``, ``pred.nonfinite``, ``label.bbox`` ...).
        detail: at most 300 characters are kept; control characters are removed.
        side: ``input`` (the image leaves the metric for every model) or ``prediction`` (it counts as a miss).
    """

    def __init__(self, code: str, detail: str, side: Literal["input", "prediction"] = "input") -> None:
        self.code, self.side = code, side
        self.detail = "".join(c if c.isprintable() else " " for c in detail)[:300]
        super().__init__(f"{code}: {self.detail}")


# What a machine runs out of, disks that fail and network disks that went away. Everything else that the system says is
# the file's fault.
_MACHINE_ERRNOS = frozenset(
    number
    for name in (
        "ENOSPC", "EDQUOT", "EFBIG", "ENOMEM", "EMFILE", "ENFILE", "EIO", "EROFS",
        "ESTALE", "ETIMEDOUT", "EREMOTEIO", "EHOSTDOWN", "ENOTCONN",
    )
    if (number := getattr(errno, name, None)) is not None
)  # fmt: skip
# cv::Error::StsNoMem, in OpenCV's text: the attribute `code` is set on the class, and may be of another thread's error.
_CV2_NO_MEMORY = ("error: (-4:", "std::bad_alloc")
_PIL_NO_MEMORY = "out of memory"  # code -9 of Pillow's decoders and encoders, as an OSError without number
# Libraries that have no class for it say it in the text of a RuntimeError: PyTorch's allocators (CPU, CUDA, MPS) and
# cuBLAS, and whatever lets C++'s exception through ("bad allocation" is what Microsoft's library calls it).
_NO_MEMORY = (
    "DefaultCPUAllocator",
    "not enough memory",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "std::bad_alloc",
    "bad allocation",
    "Failed to allocate memory",
)


def machine_fault(error: BaseException) -> BaseException | None:
    """The fault of this machine behind ``error``: memory, disk space or file handles ran out; None when there is none.

    Such a fault says nothing about an image, so whoever turns exceptions into ``SampleFault`` lets it pass. All that
    was handled on the way counts (``__cause__`` and ``__context__``, also under ``from None``, and the members of a
    group), so a library's own wrapping hides nothing. The outermost is returned.
    """
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        current = waiting.pop(0)
        if current is None or id(current) in seen:
            continue
        if _is_of_machine(current):
            return current
        seen.add(id(current))
        waiting += [current.__cause__, current.__context__]
        if isinstance(current, BaseExceptionGroup):
            waiting += current.exceptions
    return None


def _is_of_machine(error: BaseException) -> bool:
    """This exception alone. Libraries are known by the names of their classes, so that none has to be imported."""
    if isinstance(error, (MemoryError, MachineFault, StorageFull, WorkerDied)):
        return True
    if isinstance(error, OSError):
        return error.errno in _MACHINE_ERRNOS or (error.errno is None and str(error).startswith(_PIL_NO_MEMORY))
    if isinstance(error, SapiensBenchError):
        return False  # its text may quote anything
    library = type(error).__module__.partition(".")[0]
    if library == "cv2":
        return any(sign in str(error) for sign in _CV2_NO_MEMORY)
    if library == "torch" and type(error).__name__ == "OutOfMemoryError":
        return True
    return (isinstance(error, RuntimeError) or library == "onnxruntime") and any(s in str(error) for s in _NO_MEMORY)


def out_of_memory(error: BaseException) -> bool:
    """Is the fault of this machine behind ``error`` a lack of memory, which smaller pieces may not run into?"""
    fault = machine_fault(error)
    if isinstance(fault, OSError):
        return fault.errno in (None, errno.ENOMEM)
    return fault is not None and not isinstance(fault, SapiensBenchError)


def raise_if_machine(error: BaseException) -> None:
    """Raise the fault of this machine behind ``error``, if there is one (``machine_fault``)."""
    if fault := machine_fault(error):
        raise fault from None
