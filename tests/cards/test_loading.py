"""The strict YAML rule and the messages of refused cards."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sapiens_bench.cards.loading import load_card, parse_yaml
from sapiens_bench.cards.schema import ModelCard
from sapiens_bench.errors import CardError

GOOD = """\
schema: model/1
id: tiny-family
title: Tiny
task: pose
licence: {name: MIT}
wrapper: movenet
space: coco17
trained_on: nothing
variants:
  - id: tiny
    title: Tiny 17
    weights:
      file: tiny.safetensors
      format: graph
      sha256: null
      get: {how: Ask a friend.}
    input: {height: 256, width: 192, mean: [1.0, 2.0, 3.5]}
"""
LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9))


def refusal(tmp_path: Path, content: str | bytes) -> str:
    """The message for a card file with this content."""
    path = tmp_path / "card.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(CardError) as caught:
        load_card(path)
    return str(caught.value)


def test_a_good_card_loads_with_lists_as_tuples(tmp_path: Path) -> None:
    path = tmp_path / "card.yaml"
    path.write_text("\ufeff" + GOOD, encoding="utf-8")
    card = load_card(path)
    assert isinstance(card, ModelCard)
    assert card.variants[0].input is not None
    assert card.variants[0].input.mean == (1.0, 2.0, 3.5)


@pytest.mark.parametrize(
    ("addition", "expected"),
    [
        ("hook: !!python/object/apply:builtins.open ['x', 'w']\n", "tags"),
        ("hook: !!python/name:os.system\n", "tags"),
        ("hook: !local x\n", "tags"),
        ("hook: !!str x\n", "tags"),
        (LAUGHS, "anchors"),
        ("notes: *missing\n", "aliases"),
        ("task: depth\n", "written twice"),
        ("keypionts: 308\n", "unknown key"),
        ("17: x\n", "not text"),
        ("? [a, b]\n: x\n", "not text"),
        ("<<: {a: b}\n", "special"),
        ("notes: no\n", "truth value"),
        ("notes: 1:30\n", "number"),
        ("notes: 012\n", "number"),
        ("notes: 1e3\n", "number"),
        ("notes: .nan\n", "number"),
        ("notes: 2020-01-01\n", "date"),
        ('notes: "\\e[31mred"\n', "control character"),
        ('notes: "\\u202Eevil"\n', "control character"),
        ("---\nschema: model/1\n", "second document"),
        ("notes: [\n", "not valid YAML"),
        ("notes: 'a\n", "not valid YAML"),
        ("notes: " + "[" * 20 + "]" * 20 + "\n", "nested deeper"),
    ],
)
def test_hostile_or_ambiguous_yaml_is_refused_with_file_and_line(tmp_path: Path, addition: str, expected: str) -> None:
    message = refusal(tmp_path, GOOD + addition)
    assert expected in message
    assert "card.yaml, line" in message


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("height: 256", "height: '256'", "variants.0.input.height"),
        ("height: 256", "height: -256", "greater than 0"),
        ("height: 256", "height: 256.0", "variants.0.input.height"),
        ("title: Tiny\n", "title: 17\n", "'title'"),
        ("id: tiny-family", 'id: "<img src=x onerror=alert(1)>"', "'id'"),
        ("id: tiny-family", 'id: "a | b [x](javascript:alert(1))"', "'id'"),
        ("tiny.safetensors", "../../etc/hostname", "relative path"),
        ("tiny.safetensors", "/etc/hostname", "relative path"),
        ("tiny.safetensors", "file:///etc/hostname", "relative path"),
        ("{how: Ask a friend.}", "{how: x, url: 'file:///etc/hostname'}", "https only"),
        ("      sha256: null\n", "", "'variants.0.weights.sha256': is missing"),
        ("sha256: null", "sha256: abc", "sha256"),
        ("schema: model/1", "schema: model/2", "none of"),
        ("schema: model/1", "shcema: model/1", "missing (found 'shcema')"),
        ("task: pose", "task: 17", "'task'"),
        ("task: pose", "task: no", "would be read as a truth value"),
    ],
)
def test_a_wrong_value_is_refused_and_its_key_is_named(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in GOOD
    assert expected in refusal(tmp_path, GOOD.replace(old, new))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "mapping"),
        ("- 1\n- 2\n", "mapping"),
        ("[" * 5000 + "]" * 5000, "nested deeper"),
        (bytes(range(256)), "UTF-8"),
        (b"a: \x00\n", "not valid YAML"),
        (b"x" * 1_000_001, "1 MB"),
    ],
)
def test_what_is_not_a_card_at_all_is_refused(tmp_path: Path, content: str | bytes, expected: str) -> None:
    assert expected in refusal(tmp_path, content)


def test_a_misspelt_key_gets_the_nearest_valid_one_and_its_line(tmp_path: Path) -> None:
    message = refusal(tmp_path, GOOD.replace("    input: {height", "    imput: {height"))
    assert "line 17, key 'variants.0.imput': unknown key; did you mean 'input'?" in message


def test_an_unlike_key_gets_the_whole_list(tmp_path: Path) -> None:
    message = refusal(tmp_path, GOOD.replace("mean:", "zzz:"))
    assert "valid keys: channel_order, height, mean, std, width" in message


def test_every_fault_of_a_card_is_listed_up_to_five(tmp_path: Path) -> None:
    message = refusal(tmp_path, GOOD + "".join(f"extra{i}: 1\n" for i in range(7)))
    assert message.count("unknown key") == 5
    assert "and 2 more" in message


def test_a_folder_or_missing_file_is_refused_without_traceback(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.yaml"):
        with pytest.raises(CardError, match="is not a file"):
            load_card(path)


@settings(deadline=None, max_examples=60)
@given(position=st.integers(0, len(GOOD) - 1), byte=st.integers(0, 255))
def test_any_flipped_byte_loads_or_is_refused_but_never_crashes(position: int, byte: int) -> None:
    data = bytearray(GOOD.encode())
    data[position] = byte
    refused = ""
    try:
        parse_yaml(data.decode("utf-8", "replace"), "card.yaml")
    except CardError as error:
        refused = str(error)
    assert refused == "" or refused.startswith("card.yaml")


@settings(deadline=None, max_examples=40)
@given(value=st.one_of(st.integers(-(10**9), 10**9), st.floats(-1e6, 1e6, width=32), st.booleans()))
def test_plain_scalars_read_back_as_what_they_look_like(value: float) -> None:
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    if "e" in text and "." not in text and not isinstance(value, bool):
        text = text.replace("e", ".0e")
    found = parse_yaml(f"k: {text}", "card.yaml")["k"]
    assert found == value
    assert type(found) is type(value)
