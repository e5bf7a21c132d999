"""Code beside a card that declares too little is refused while the request is planned, with what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.options import NoOptions
from sapiens_bench.engine.declared import adapter_options, check_methods, model_options
from sapiens_bench.errors import CardError

CARD = """\
schema: model/1
id: bright-family
title: Bright
task: seg
licence: {name: MIT}
wrapper: ./bright.py:Bright
space: binary
trained_on: nothing
variants: [{id: bright, title: Bright}]
"""
CODE = """\
from sapiens_bench.cards.options import Options

class BrightOptions(Options):
    side: int = 4

class Bright:
    Options = BrightOptions
    def __init__(self, context):
        self.side = context.options.side
    def prepare(self, x): ...
    def forward(self, tensors): ...
    def finish(self, outputs, geometry): ...
"""


def options_of(folder: Path, code: str) -> type:
    (folder / "bright.py").write_text(code)
    (folder / "bright.yaml").write_text(CARD.replace("binary", next(iter(_label_sets()))))
    return model_options(Catalog.load([folder]).model("bright"))


def _label_sets() -> list[str]:
    return [name for name, card in Catalog.load().spaces.items() if card.kind == "labels"]


def test_a_complete_wrapper_passes(tmp_path: Path) -> None:
    assert options_of(tmp_path, CODE).__name__ == "BrightOptions"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("class Bright:", "class Brihgt:", "has no Bright. It has: BrightOptions, Brihgt."),
        ("(Options):", ":", "write `class BrightOptions(Options)`"),
        ("    Options = BrightOptions\n", "    Options = 3\n", "give it a class derived from Options"),
        ("    Options = BrightOptions\n", "", "write `Options = BrightOptions` in it"),
        (
            "    def finish(self, outputs, geometry): ...\n",
            "",
            "has no method finish; it needs prepare, forward, finish",
        ),
    ],
)
def test_what_is_missing_is_named_with_file_class_and_fix(tmp_path: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(CardError) as error:
        options_of(tmp_path, CODE.replace(old, new))
    text = str(error.value)
    for part in ("bright.yaml", "bright.py", "Bright", says):
        assert part in text


def test_a_wrapper_without_choices_beside_one_that_has_some_passes(tmp_path: Path) -> None:
    other = CODE.replace("class Bright:", "class Other:") + CODE.partition("\n\n")[2].partition("\n\n")[2].replace(
        "    Options = BrightOptions\n", ""
    )
    assert options_of(tmp_path, other) is NoOptions


def test_a_method_that_is_set_in_the_constructor_counts() -> None:
    class Wrapped:
        def __init__(self) -> None:
            self.forward = len

    check_methods(Wrapped, ("forward",), "x")
    check_methods(Wrapped(), ("forward",), "x")
    with pytest.raises(CardError, match="no method finish"):
        check_methods(Wrapped(), ("forward", "finish"), "x")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("    def __len__(self): return 0\n", "no method __getitem__"),
        (
            "    def __len__(self): return 0\n    def __getitem__(self, i): ...\n    class Options: pass\n",
            "write `class Options(Options)`",
        ),
    ],
)
def test_an_adapter_is_held_to_the_same(tmp_path: Path, body: str, says: str) -> None:
    (tmp_path / "mine.py").write_text(f"class Mine:\n{body}")
    card = Catalog.load().dataset("synthetic-humans").model_copy(update={"adapter": "./mine.py:Mine"})
    with pytest.raises(CardError, match="Mine") as error:
        adapter_options(card, tmp_path / "mine.yaml")
    assert says in str(error.value)
