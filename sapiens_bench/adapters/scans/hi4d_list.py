"""Lists of frames that a paper used, as people pass them on: one sequence or one picture a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sapiens_bench.adapters.scans.hi4d_layout import PAIR, Sequence4D, number_at_end
from sapiens_bench.adapters.scans.options import places_of
from sapiens_bench.errors import DataMissing, DatasetRejected, SampleFault
from sapiens_bench.render.files import read_plain

LIST_SOURCE = "It is the text file attached to https://github.com/facebookresearch/sapiens/issues/194"
_MAX_BYTES = 1 << 24
_MAX_FAULTS = 20


@dataclass(frozen=True, slots=True)
class FrameList:
    """What a list file names: whole sequences, and single pictures of (sequence, camera, frame)."""

    sequences: frozenset[str]
    pictures: frozenset[tuple[str, int, int]]

    def has(self, sequence: str, camera: int, frame: int) -> bool:
        """Whether the list names this picture, or all of its sequence."""
        return sequence in self.sequences or (sequence, camera, frame) in self.pictures


def read_list(name: str, root: Path, sequences: Sequence[Sequence4D]) -> FrameList:
    """A list file: one sequence (``pair28/dance28``) or one picture (``pair28/dance28/images/4/000012.jpg``) a line.

    Paths may start with anything, blank lines and lines that begin with # do not count.

    Raises:
        DataMissing: no such file; says where to get it.
        DatasetRejected: a line names nothing that is there; every such line is listed (first 20).
    """
    path = next((p for p in places_of(root, name) if p.is_file()), None)
    if path is None:
        raise DataMissing(
            f"The list of frames {name!r} is neither in {root} nor a path of its own. {LIST_SOURCE}; save it there. "
            "Without it, use the protocol over all frames: its name says that it is another set."
        )
    whole: set[str] = set()
    pictures: set[tuple[str, int, int]] = set()
    faults: list[str] = []
    for number, line in enumerate(_lines(path), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        named = _list_line(text.replace("\\", "/").split("/"), sequences)
        if isinstance(named, str):
            said = "" if path.is_symlink() else f", {text[:80]!r}"  # text reached over a link is not repeated
            faults.append(f"line {number}{said}: {named}")
        elif named[1:] == (None, None):
            whole.add(named[0])
        else:
            sequence, camera, frame = named
            assert camera is not None
            assert frame is not None
            pictures.add((sequence, camera, frame))
    if faults or not (whole or pictures):
        shown = [*faults[:_MAX_FAULTS], *([f"... {len(faults)} such lines"] if len(faults) > _MAX_FAULTS else [])]
        raise DatasetRejected(str(path), shown or ["it names no sequence and no picture"], LIST_SOURCE)
    return FrameList(frozenset(whole), frozenset(pictures))


def _lines(path: Path) -> list[str]:
    try:
        return read_plain(path, "list", _MAX_BYTES).decode("utf-8-sig").splitlines()
    except SampleFault as fault:
        raise DatasetRejected(str(path), [fault.detail], LIST_SOURCE) from None
    except UnicodeDecodeError as error:
        raise DatasetRejected(str(path), [f"not a text file: {error.reason}"], LIST_SOURCE) from None


def _list_line(parts: list[str], sequences: Sequence[Sequence4D]) -> tuple[str, int | None, int | None] | str:
    """(sequence, camera, frame) of one line, or what is wrong with it."""
    parts = [part.strip() for part in parts if part.strip() not in ("", ".")]
    at = max((i for i, part in enumerate(parts) if PAIR.fullmatch(part)), default=None)
    if at is None:
        matches = [(i, s) for i, part in enumerate(parts) for s in sequences if s.action.lower() == part.lower()]
    else:
        match = PAIR.fullmatch(parts[at])
        assert match is not None
        action = parts[at + 1].lower() if at + 1 < len(parts) else ""
        matches = [(at + 1, s) for s in sequences if s.pair == int(match[1]) and s.action.lower() == action]
    if len(matches) != 1:
        return "names no sequence that is here" if not matches else "could be several sequences"
    position, sequence = matches[0]
    rest = parts[position + 1 :]
    if not rest:
        return sequence.name, None, None
    if len(rest) == 3 and rest[0].lower() == "images":
        rest = rest[1:]
    frame = number_at_end(Path(rest[-1]).stem)
    if len(rest) != 2 or not rest[0].isdecimal() or frame is None:
        return "expected SEQUENCE/images/CAMERA/FRAME.jpg after the sequence, or nothing"
    return sequence.name, int(rest[0]), frame
