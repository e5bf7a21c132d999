"""Every key that a card may have does something: code reads it, other than the schema that declares it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from sapiens_bench.cards import schema
from sapiens_bench.cards.schema import Card

# What an instance is called where its keys are read: the last name before the dot, without a leading underscore.
CALLED: dict[str, set[str]] = {
    "Licence": {"licence"},
    "Paper": {"paper"},
    "HubFile": {"hub", "source"},
    "Get": {"get"},
    "Weights": {"weights"},
    "InputSpec": {"input", "spec", "size"},
    "Variant": {"variant"},
    "ModelCard": {"card"},
    "DetectorCard": {"card"},
    "EvalProtocol": {"protocol", "p", "protocols", "chosen", "facts", "about"},
    "DatasetCard": {"card", "dataset"},
    "SpaceCard": {"space", "card", "last", "first", "source", "target", "values", "keys"},
    "SpaceMapCard": {"card"},
    "PublishedValue": {"value", "cell"},
    "PublishedEntry": {"entry"},
    "PublishedTable": {"table"},
}
CARDS = [
    kind for kind in vars(schema).values() if isinstance(kind, type) and issubclass(kind, Card) and kind is not Card
]


@pytest.fixture(scope="module")
def reads(repository: Path) -> set[tuple[str, str]]:
    """(owner's name, attribute) of every attribute that the package reads outside validators of the schema."""
    found = set()
    for path in (repository / "sapiens_bench").rglob("*.py"):
        for node in _nodes(ast.parse(path.read_text(encoding="utf-8")), path.name == "schema.py"):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                owner = node.value.value if isinstance(node.value, ast.Subscript) else node.value
                name = (
                    owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
                )
                found.add((name.lstrip("_"), node.attr))
    return found


def _nodes(tree: ast.AST, is_schema: bool) -> Iterator[ast.AST]:
    """Every node; of the schema only those of plain methods: a check is no use."""
    for node in ast.iter_child_nodes(tree):
        if is_schema and isinstance(node, ast.FunctionDef) and node.decorator_list:
            continue
        yield node
        yield from _nodes(node, is_schema)


def test_the_table_above_is_complete() -> None:
    assert {kind.__name__ for kind in CARDS} == set(CALLED)


@pytest.mark.parametrize("kind", CARDS, ids=lambda kind: kind.__name__)
def test_every_key_is_read_by_code(kind: type[Card], reads: set[tuple[str, str]]) -> None:
    names = CALLED[kind.__name__] | {"self"}
    unread = [key for key in kind.model_fields if not any((name, key) in reads for name in names)]
    assert [key for key in unread if key != "schema_"] == []


def test_an_unread_key_would_be_found(reads: set[tuple[str, str]]) -> None:
    assert ("licence", "may_redistribute") in reads
    assert ("licence", "no_such_key") not in reads
