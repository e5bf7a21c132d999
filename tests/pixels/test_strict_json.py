from __future__ import annotations

import gzip
import math
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
