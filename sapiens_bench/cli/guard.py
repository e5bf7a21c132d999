"""The last line of defence: every error becomes one message and an exit code; tracebacks only with --debug."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from sapiens_bench.errors import MachineFault, SapiensBenchError, StorageFull, UsageError, machine_fault, out_of_memory

INTERNAL_ERROR = 70  # EX_SOFTWARE: a defect of ours
_PLACES = ("--out", "--data-root", "--weights-root", "--cards", "--truth", "--json", "--junit", "--markdown")
_WORDS = "sapiens_bench.words"


class GuardedGroup(TyperGroup):
    """The root command: turns exceptions of all commands into messages; ``--debug`` may stand anywhere."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        if "--debug" in args[:end]:
            args = ["--debug", *(a for a in args[:end] if a != "--debug"), *args[end:]]
        ctx.meta[_WORDS] = args[:end]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            _check_folder()
            _refuse_empty_places(ctx.meta[_WORDS])
            return super().invoke(ctx)
        except (KeyboardInterrupt, Exception) as error:
            if ctx.params.get("debug") or _belongs_to_the_parser(error):
                raise
            raise typer.Exit(complain(error)) from None


class DefaultGroup(TyperGroup):
    """A command with sub-commands, of which ``run`` may be left out: ``verify RUN`` means ``verify run RUN``.

    That holds for a folder which has the name of a sub-command, too: ``verify run`` is about the folder ``run``, if
    there is one with a run in it and nothing else is named.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and not args[0].startswith("-") and (args[0] not in self.commands or self._means_a_folder(args)):
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def _means_a_folder(self, args: list[str]) -> bool:
        if not (Path(args[0]) / "run.json").is_file():
            return False
        options = [p for p in self.commands[args[0]].params if p.param_type_name == "option"]
        with_value = {name for option in options if not getattr(option, "is_flag", False) for name in option.opts}
        rest = iter(args[1:])
        for word in rest:
            if word in with_value:
                next(rest, None)
            elif not word.startswith("-"):
                return False
        return True


def _refuse_empty_places(words: Sequence[str]) -> None:
    """An empty path would be the current folder, which nobody means who writes ``--out "$UNSET"``.

    Raises:
        UsageError: a place is given as nothing.
    """
    for word, following in zip(words, (*words[1:], None), strict=True):
        name, equals, value = word.partition("=")
        if name in _PLACES and (value == "" if equals else following == ""):
            raise UsageError(f"{name} is empty: was a variable of the shell not set? '.' is the current folder.")


def _check_folder() -> None:
    """Relative paths mean nothing in a folder that was deleted, and half of all libraries ask for it.

    Raises:
        UsageError: the current folder is gone.
    """
    try:
        os.getcwd()
    except FileNotFoundError:
        raise UsageError("The current folder does not exist any more. Change into one that does (cd ~).") from None


def _belongs_to_the_parser(error: BaseException) -> bool:
    """Usage errors, --help and exits of typer, whose classes moved between its versions."""
    return isinstance(error, typer.Exit | typer.Abort | BrokenPipeError) or hasattr(error, "format_message")


def complain(error: BaseException) -> int:
    """Tell the user on stderr; returns the exit code."""
    from sapiens_bench.cli.output import say

    text, code = _verdict(error)
    with suppress(StorageFull, BrokenPipeError):  # nobody can be told when stderr is full as well
        say(f"error: {text}", "red", to_stderr=True)
    return code


def _verdict(error: BaseException) -> tuple[str, int]:
    """What to say, and the exit code."""
    if isinstance(error, KeyboardInterrupt):  # of which SIGTERM is a kind where an engine is at work
        told = "Stopped. What is on disk already is kept; the same command goes on from there."
        return told, 130 if type(error) is KeyboardInterrupt else 143
    if isinstance(error, SapiensBenchError):
        return str(error), error.exit_code
    if out_of_memory(error):
        return "Out of memory. Give a smaller --batch-size or --workers.", MachineFault.exit_code
    fault = machine_fault(error)
    if isinstance(fault, OSError):
        return _of_machine(fault), MachineFault.exit_code
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror or type(error).__name__}.", 2
    detail = " ".join(str(error).split())[:300]
    return (
        f"{type(error).__name__}: {detail}\nThis is a defect of sapiens-bench or of a plug-in. "
        f"Run the command again with --debug and report what it prints."
    ), INTERNAL_ERROR


def _of_machine(fault: OSError) -> str:
    where = f"{fault.filename}: " if fault.filename else ""
    room = " Free some space." if fault.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    return f"{where}{fault.strerror or type(fault).__name__}.{room} This machine is at fault; the same command goes on."


def let_go_of_stdout() -> None:
    """What is left in the buffer goes nowhere: ``sapiens-bench list | head`` ends without a message."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
