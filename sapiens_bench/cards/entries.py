"""One variant of a model or detector with its family: what a name of the catalog stands for.

A name may end in a form, ``movenet-thunder@bf16`` or ``@onnx``: the same weights computed in another way, as a row of
its own. Ids of cards hold no ``@``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sapiens_bench.cards.schema import DetectorCard, ModelCard, Variant
from sapiens_bench.errors import UnknownName, UsageError

MARK = "@"
Backend = Literal["torch", "compile", "channels_last", "onnx"]
PRECISIONS = ("fp32", "bf16", "fp16")
BACKENDS: tuple[Backend, ...] = ("torch", "compile", "channels_last", "onnx")
_FORM = re.compile(rf"(.+){MARK}([a-z0-9_]+(?:\+[a-z0-9_]+)?)")


@dataclass(frozen=True)
class Form:
    """How the forward pass of one row is computed, where its name says so."""

    precision: str = ""  # "": as the run says
    backend: Backend | None = None  # None: torch

    @property
    def text(self) -> str:
        """``"bf16"``, ``"compile+bf16"``; "" for the plain form."""
        return "+".join(part for part in (self.backend, self.precision) if part)


PLAIN = Form()


def without_form(name: str) -> tuple[str, str]:
    """("movenet-thunder", "bf16") of "movenet-thunder@bf16"; what is no form (a path with an @) stays in the name."""
    found = _FORM.fullmatch(name)
    return (found[1], found[2]) if found else (name, "")


def parse_form(text: str) -> Form:
    """The form behind the mark.

    Raises:
        UnknownName: neither a precision nor a backend. UsageError: two of a kind.
    """
    known = (*PRECISIONS, *BACKENDS)
    precisions: list[str] = []
    backends: list[str] = []
    for part in text.split("+") if text else ():
        if part not in known:
            raise UnknownName(
                "precision or backend", part, known, "Write MODEL@bf16, MODEL@onnx or MODEL@compile+bf16."
            )
        (precisions if part in PRECISIONS else backends).append(part)
    if len(precisions) > 1 or len(backends) > 1:
        raise UsageError(f"{MARK}{text} names two of a kind: one precision and one backend at most.")
    backend = next((b for b in BACKENDS if b in backends), None)
    return Form(precisions[0] if precisions else "", backend)


@dataclass(frozen=True)
class ModelEntry:
    """One variant with its family, in one form."""

    card: ModelCard
    variant: Variant
    path: Path
    form: Form = PLAIN

    @property
    def id(self) -> str:
        """Names the row of a table: the variant's id and, where the request says one, the form."""
        return self.variant.id + (f"{MARK}{self.form.text}" if self.form.text else "")

    @property
    def title(self) -> str:
        """The variant's title and the form."""
        return self.variant.title + (f" ({self.form.text})" if self.form.text else "")


@dataclass(frozen=True)
class DetectorEntry:
    """One variant of a person detector with its family."""

    card: DetectorCard
    variant: Variant
