"""Where text goes: results to stdout, progress and complaints to stderr, finished files to their place in one step."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING

from sapiens_bench.errors import StorageFull, StoreError
from sapiens_bench.report.escape import terminal
from sapiens_bench.report.sheet import Document, Sheet
from sapiens_bench.report.text import Screen, aligned

if TYPE_CHECKING:
    from rich.console import Console

    from sapiens_bench.report.table import ReportTable

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ANSI = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}


def stderr() -> Console:
    """The console for progress."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def screen() -> Screen | None:
    """Width and colour of the terminal that stdout is; None for a file or a pipe."""
    if not sys.stdout.isatty():
        return None
    return Screen(shutil.get_terminal_size().columns, colour=_has_colour(sys.stdout))


def _has_colour(stream: IO[str]) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def say(text: str, style: str = "", *, to_stderr: bool = False) -> None:
    """Print text that may come from cards or files: nothing in it is taken for markup or a control code."""
    stream = sys.stderr if to_stderr else sys.stdout
    safe = terminal(text)
    if style and _has_colour(stream):
        safe = f"\x1b[{_ANSI[style]}m{safe}\x1b[0m"
    _put(stream, safe + "\n")


def write(text: str) -> None:
    """Put finished text (a table in some format) on stdout as it is."""
    _put(sys.stdout, text)


def _put(stream: IO[str], text: str) -> None:
    """Write and flush, so that a full disk is noticed here and not when the interpreter ends.

    Raises:
        StorageFull: what stands behind stdout or stderr takes no more.
    """
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        name = "stderr" if stream is sys.stderr else "stdout"
        raise StorageFull(f"{name} could not be written: {error.strerror or error}.") from None


def save(path: Path, text: str) -> None:
    """Put finished text at ``path``: the old file stays until the new one is whole. A device or pipe is written to.

    Raises:
        StorageFull: no space or no permission; says which, and what to do.
        StoreError: any other fault.
    """
    from sapiens_bench.store.files import write_atomic

    try:
        target = Path(os.path.realpath(path))  # through a link: the link stays
        if target.exists() and not target.is_file():
            target.write_text(text, encoding="utf-8")
            return
        write_atomic(target, text.encode())
    except OSError as error:
        raise _not_written(path, error) from None
    except StoreError as error:
        cause = error.__cause__
        raise (_not_written(path, cause) if isinstance(cause, OSError) else error) from None


def _not_written(path: Path, error: OSError) -> StoreError:
    reason = error.strerror or str(error)
    if error.errno in _NO_ROOM:
        return StorageFull(f"{path} could not be written: {reason}. Free some space, or give a place on another disk.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageFull(f"{path} could not be written: {reason}. Give a place where you may write.")
    return StoreError(f"{path} could not be written: {reason}.")


def show(content: ReportTable | Document, fmt: str, out: Path | None = None) -> None:
    """A table or document: on stdout, as wide and coloured as a terminal allows, or as a file."""
    from sapiens_bench.report import text
    from sapiens_bench.report.formats import render

    if out is not None:
        save(out, render(content, fmt))
        say(f"Written: {out}")
    elif fmt != "text":
        write(render(content, fmt))
    elif isinstance(content, Document):
        write(text.render_document(content, screen()))
    else:
        write(text.render(content, screen()))


def next_commands(commands: Iterable[tuple[str, str]]) -> None:
    """``(command, what it does)`` lines under the heading "Next"."""
    lines = list(commands)
    if not lines:
        return
    width = max(len(command) for command, _ in lines)
    say("Next:", "bold")
    for command, purpose in lines:
        say(f"  {command:<{width}}  # {purpose}")


def typed() -> str:
    """The command line as the user typed it, for the record."""
    return shlex.join(["sapiens-bench", *sys.argv[1:]])


def grid(
    heads: Iterable[str],
    rows: Iterable[Iterable[str]],
    right: Iterable[int] = (),
    at_most: int | None = None,
) -> None:
    """A plain table of texts on stdout; columns in ``right`` are set flush right.

    Args:
        at_most: characters of a line where stdout is no terminal; None: as many as it takes.
    """
    heads = tuple(heads)
    flush = set(right)
    left = tuple(i for i in range(len(heads)) if i not in flush)
    fit = screen() or (None if at_most is None else Screen(at_most, colour=False))
    write(aligned(Sheet("", heads, tuple(tuple(row) for row in rows), left), fit, fold=True) + "\n")
