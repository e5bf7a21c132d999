"""The fast reader takes what the strict one takes, gives the same values, and leaves everything else to it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sapiens_bench.errors import DatasetRejected
from sapiens_bench.pixels import json_parts, strict_json

TEXT = st.text(st.characters(codec="utf-8"), max_size=6)
KEYS = st.text("abcdé_ -.#", max_size=6)  # a key with a quote, colon or backslash may be doubtful
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 70), 1 << 70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(KEYS, inside, max_size=4),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=5) | st.lists(VALUES, max_size=5)


def strict(data: bytes) -> Any:
    try:
        return strict_json.parse(data, "x")
    except DatasetRejected:
        return None


@settings(max_examples=300, deadline=None)
@given(DOCUMENTS, st.sampled_from([None, 1]), st.booleans())
def test_sound_documents_read_the_same(document: Any, indent: int | None, ascii_only: bool) -> None:
    data = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode()
    assert json_parts.read(data) == strict(data)
    if isinstance(document, dict):
        parts = json_parts.document(json_parts.check_text(data))
        assert {name: json_parts.value(part) for name, part in parts.items()} == document


@settings(max_examples=300, deadline=None)
@given(DOCUMENTS, st.data())
def test_what_the_strict_reader_refuses_is_doubtful_or_read_alike(document: Any, data: st.DataObject) -> None:
    sound = json.dumps(document).encode()
    at = data.draw(st.integers(0, len(sound)))
    broken = sound[:at] + data.draw(st.binary(max_size=2)) + sound[at + data.draw(st.integers(0, 2)) :]
    try:
        found = json_parts.read(broken)
    except json_parts.Doubtful:
        return
    wanted = strict(broken)
    assert wanted is not None
    assert found == wanted


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 2}',
        '{"a": [{"b": 1, "b": 2}]}',
        '{"a": {"b": {"c": 1, "c": 1}}}',
        '{"a": NaN}',
        '{"a": ' + "[" * 5000 + "]" * 5000 + "}",
        '{"a": 1',
        "7",
        '{"a": ' + "9" * 5000 + "}",
    ],
)
def test_doubtful_documents(text: str) -> None:
    with pytest.raises(json_parts.Doubtful):
        json_parts.read(text.encode())


def test_a_repeated_key_between_large_members_is_noticed_without_reading_them() -> None:
    sound = b'{"images": [1, 2], "annotations": [{"id": 1}], "images2": 3}'
    assert set(json_parts.document(sound)) == {"images", "annotations", "images2"}
    for twice in (b'{"images": [1], "annotations": [2], "images": [3]}', b'{"a": 1, "a": 1}'):
        with pytest.raises(json_parts.Doubtful):
            json_parts.document(twice)


def test_text_that_looks_like_a_key_is_no_repeated_key() -> None:
    data = json.dumps({"a": 'x": ', "b": {"a": 1}}).encode()
    assert json_parts.read(data) == {"a": 'x": ', "b": {"a": 1}}


@pytest.mark.parametrize(
    ("listed", "n", "is_read"),
    [([1, 2.5], 2, True), ([1, 2], 3, False), ([1, True], 2, False), ([1, None], 2, False), ([1, "2"], 2, False),
     (None, 1, False), ([10**400], 1, False), ([1e308 * 10], 1, False), ({}, 0, False)],
)  # fmt: skip
def test_lists_of_finite_numbers(listed: Any, n: int, is_read: bool) -> None:
    found = json_parts.numbers(listed, n)
    assert (found is not None) == is_read
    if found is not None:
        np.testing.assert_array_equal(found, listed)
