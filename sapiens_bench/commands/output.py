"""Where text goes: results to stdout, progress and complaints to stderr."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sapiens_bench.report.escape import terminal

if TYPE_CHECKING:
    from rich.console import Console


def stdout() -> Console:
    """The console for results."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def stderr() -> Console:
    """The console for progress and complaints."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def say(text: str, style: str = "", *, to_stderr: bool = False) -> None:
    """Print text that may come from cards or files: nothing in it is taken for markup or a control code."""
    from rich.text import Text

    (stderr() if to_stderr else stdout()).print(Text(terminal(text), style=style))


def write(text: str) -> None:
    """Put finished text (a table in some format) on stdout as it is."""
    sys.stdout.write(text)
    sys.stdout.flush()


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


def grid(heads: Iterable[str], rows: Iterable[Iterable[str]], right: Iterable[int] = ()) -> None:
    """A plain table of texts; columns in ``right`` are set flush right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console, flush = stdout(), set(right)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for position, head in enumerate(heads):
        table.add_column(head, justify="right" if position in flush else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(terminal(cell)) for cell in row))
    if console.is_terminal:
        console.print(table)
    else:
        from rich.console import Console

        wide = Console(file=sys.stdout, width=4000, color_system=None, highlight=False)
        with wide.capture() as capture:
            wide.print(table)
        write("\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n")
