"""Where hostile files lie, what is wanted of each, and calling the commands on them."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Wanted = Literal["ok", "row_error", "reject_file", "reject_dataset", "escape"]
SECRET = "the-content-of-a-file-outside-every-root"


@dataclass(frozen=True)
class Case:
    """One hostile file."""

    id: str
    kind: str
    wanted: Wanted
    why: str = ""  # where more than one outcome could be argued for, why this one


@dataclass
class Found:
    """What came of it."""

    got: str
    names_file: bool = True  # the message names the file, or the sample
    text: str = ""


@dataclass
class Place:
    """A folder of hostile files beside a folder that nobody may touch."""

    root: Path
    cases: list[Case] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    def __post_init__(self) -> None:
        for folder in (self.root, self.outside):
            folder.mkdir(parents=True, exist_ok=True)
        (self.outside / "secret.txt").write_text(SECRET)
        (self.outside / "secret.jpg").write_text(SECRET)

    @property
    def outside(self) -> Path:
        """Holds a secret; nothing in it may be read or written."""
        return self.root.with_name(f"{self.root.name}-outside")

    @property
    def canary(self) -> Path:
        """Exists when something of an input was executed."""
        return self.root / "executed"

    def add(self, identity: str, kind: str, wanted: Wanted, why: str = "") -> None:
        """Note a case."""
        self.cases.append(Case(identity, kind, wanted, why))

    def of(self, kind: str) -> list[Case]:
        """The cases of a kind."""
        return [case for case in self.cases if case.kind == kind]

    def call(self, *arguments: object) -> Call:
        """One command, in this process."""
        made = called(*arguments)
        self.calls.append(made)
        return made

    def escapes(self) -> list[str]:
        """What of the outside was touched or told."""
        told = [f"{' '.join(call.arguments[:2])} tells the secret" for call in self.calls if SECRET in call.said]
        there = {path.name for path in self.outside.rglob("*")} - {"secret.txt", "secret.jpg"}
        texts = [
            p for p in self.root.rglob("*") if p.is_file() and not p.is_symlink() and p.suffix in (".json", ".html")
        ]
        told += [f"{path.name} holds the secret" for path in texts if SECRET.encode() in path.read_bytes()]
        return told + [f"{name} was written outside" for name in sorted(there)]


@dataclass(frozen=True)
class Call:
    """A command and what it said."""

    arguments: tuple[str, ...]
    code: int
    out: str
    err: str
    seconds: float

    @property
    def said(self) -> str:
        """All of it."""
        return self.out + self.err


def called(*arguments: object) -> Call:
    """The command line in this process."""
    from sapiens_bench import cli

    words = tuple(str(argument) for argument in arguments)
    out, err, began, code = io.StringIO(), io.StringIO(), time.monotonic(), 0
    with _argv(words), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
    return Call(words, code, out.getvalue(), err.getvalue(), time.monotonic() - began)


@contextlib.contextmanager
def _argv(words: tuple[str, ...]) -> Iterator[None]:
    before, settings = sys.argv, {"NO_COLOR": "1", "COLUMNS": "400"}
    old = {name: os.environ.get(name) for name in settings}
    sys.argv = ["sapiens-bench", *words]
    os.environ.update(settings)
    try:
        yield
    finally:
        sys.argv = before
        for name, value in old.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
