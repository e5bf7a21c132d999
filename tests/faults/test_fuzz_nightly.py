"""The nightly fuzzer: its figures are what libFuzzer printed last, and what crashes a reader is kept and counted."""

from __future__ import annotations

import json
from pathlib import Path

import fuzz_nightly
import pytest
from fault_suite import fuzz

SAID = """#2\tINITED cov: 12 ft: 13 corp: 1/5b exec/s: 0 rss: 100Mb
#900\tNEW    cov: 40 ft: 60 corp: 7/80b lim: 20 exec/s: 90 rss: 120Mb L: 9/9 MS: 1 Custom-
stat::number_of_executed_units: 1800
stat::slowest_unit_time_sec:    1
stat::peak_rss_mb:              130
"""


def test_the_figures_are_those_that_were_printed_last() -> None:
    assert fuzz_nightly.stats_of(SAID) == {
        "runs": 1800, "slowest_s": 1, "peak_rss_mb": 130, "edges_covered": 40, "files_with_new_coverage": 7,
    }  # fmt: skip
    assert fuzz_nightly.stats_of("nothing") == {}


def test_without_atheris_changes_are_drawn_and_a_crash_is_counted_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fragile(data: bytes, folder: Path) -> object:
        return data.decode("ascii") if b"v 0 0 0" in data else 1 / 0

    monkeypatch.setattr(fuzz, "TARGETS", {"fragile": fuzz.Fuzzed(fragile, (fuzz.OBJ,))})
    monkeypatch.setattr(fuzz_nightly, "_atheris", lambda: None)
    out, figures = tmp_path / "crashes", tmp_path / "figures.json"
    figures.write_text(json.dumps({"targets": {"earlier": {"runs": 3}}}))
    argv = ["fuzz_nightly.py", "--seconds", "1", "--seed", "1", "--out", str(out), "--figures", str(figures)]
    monkeypatch.setattr("sys.argv", argv)
    assert fuzz_nightly.main() == 1
    told = json.loads(figures.read_text())["targets"]
    assert told["earlier"] == {"runs": 3}
    assert (told["fragile"]["led_by"], told["fragile"]["crashes"] > 3) == ("nothing", True)
    assert list(out.glob("crash-fragile-*"))
