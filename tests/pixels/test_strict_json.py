from __future__ import annotations

import gzip
import math
import pickle
from pathlib import Path

import pytest

from sapiens_bench.errors import DatasetRejected
from sapiens_bench.pixels.strict_json import parse, read_bytes


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b'{\n "a": 1,\n "b" 2}', "line 3, column 6"),
        (b'{"a": 1, "a": 2}', "'a' stands twice"),
        (b'{"a": "NaN",\n "b": [1, NaN]}', "NaN at line 2, column 11"),
        (b'{"a": -Infinity}', "-Infinity at line 1, column 7"),
        (b'["\xff"]', "not UTF-8 at line 1, column 3"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":\n ' + b"9" * 5000 + b"}", "4300 digits at line 2, column 2"),
    ],
)
def test_each_fault_says_what_and_where(data: bytes, said: str) -> None:
    with pytest.raises(DatasetRejected, match=said) as caught:
        parse(data, "labels.json")
    assert "labels.json" in str(caught.value)


def test_byte_order_mark_and_nested_objects_pass() -> None:
    assert parse(b'\xef\xbb\xbf{"a": {"b": [1, 2.5, null]}}', "x") == {"a": {"b": [1, 2.5, None]}}


def test_results_may_hold_nan_when_asked_for() -> None:
    found = parse(b"[NaN, -Infinity]", "x", finite=False)
    assert math.isnan(found[0])
    assert found[1] == -math.inf


def test_a_gzip_file_is_its_content_whatever_its_name(tmp_path: Path) -> None:
    packed = gzip.compress(b"[1, 2]")
    (tmp_path / "a.json").write_bytes(packed)
    assert read_bytes(tmp_path / "a.json") == b"[1, 2]"
    (tmp_path / "cut.json.gz").write_bytes(packed[:-4])
    with pytest.raises(DatasetRejected, match="damaged gzip file"):
        read_bytes(tmp_path / "cut.json.gz")
    (tmp_path / "bomb.json.gz").write_bytes(gzip.compress(bytes(100_000_001), 1))
    with pytest.raises(DatasetRejected, match="far more"):
        read_bytes(tmp_path / "bomb.json.gz")


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_a_byte_order_mark_says_how_the_text_is_written(tmp_path: Path, coding: str) -> None:
    mark = "" if coding in ("utf-16", "utf-32") else "\ufeff"  # the plain names write one themselves
    (tmp_path / "a.json").write_bytes((mark + '{"name": "caf\u00e9"}').encode(coding))
    assert parse(read_bytes(tmp_path / "a.json"), "a.json") == {"name": "caf\u00e9"}


def test_a_wrong_byte_order_mark_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xff\xfe{\x00\x00\xd8")
    with pytest.raises(DatasetRejected, match="byte order mark says UTF-16, which it is not"):
        read_bytes(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"PK\x03\x04...", "a zip archive: unpack it"),
        (pickle.dumps([1]), "a Python pickle, which is not read"),
        (b"\x93NUMPY\x01\x00", "a NumPy file"),
        ("[1]".encode("utf-16-le"), "UTF-16 without a byte order mark"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b'{"a": 1}\n{"a": 2}\n', "line 2, column 1: Extra data .one object a line. Such files end in .jsonl"),
    ],
)
def test_files_of_other_kinds_are_called_by_their_name(data: bytes, said: str) -> None:
    with pytest.raises(DatasetRejected, match=said):
        parse(data, "labels.json")
