"""``list models``: how each model is verified, and what it costs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sapiens_bench.cards.catalog import Catalog

Call = Callable[..., tuple[int, str, str]]


def test_every_network_says_how_it_is_verified_and_only_quoted_rows_have_no_network() -> None:
    for entry in Catalog.load().models.values():
        card = entry.card
        if card.kind != "network" or card.wrapper == "saved_maps":
            assert card.verified is None, entry.id
        else:
            assert (card.verified == "quoted") is (card.wrapper == "predictions"), entry.id


def test_the_table_fits_a_usual_terminal_and_says_it_for_each_model(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    code, said, _ = call("list", "models", "--task", "depth")
    assert code == 0
    line = next(line for line in said.splitlines() if line.startswith("midas-l "))
    assert line.split() == ["midas-l", "golden", "missing", "343.0", "516", "MIT"]
    assert max(map(len, said.splitlines())) <= 120
    rows = {row["id"]: row for row in json.loads(call("list", "models", "--json")[1])}
    assert rows["hdnet"]["verified"] == "quoted"
    assert rows["oracle"]["verified"] is None
    assert rows["midas-l"]["gflops"] == pytest.approx(516.4)


def test_a_cost_that_is_not_there_says_why(call: Call) -> None:
    lines = {line.split()[0]: line.split() for line in call("list", "models")[1].splitlines() if line.strip()}
    assert lines["rtmo-t"][-3:-1] == ["weights", "weights"]
    assert lines["rtmo-s"][-4:-1] == ["9.90", "p", "weights"]
    assert lines["oracle"][-3:-1] == lines["hdnet"][-4:-2] == lines["floor-background"][-3:-1] == ["none", "none"]
    rows = json.loads(call("list", "models", "--json")[1])
    for row in rows:
        assert (row["costs_missing"] is None) == (None not in (row["params_m"], row["gflops"])), row["id"]
    assert {row["costs_missing"] for row in rows} == {None, "no network", "told by the weights alone"}


def test_printed_tables_fit_a_usual_width_even_in_a_pipe(call: Call) -> None:
    lines = call("list", "published")[1].splitlines()
    assert max(map(len, lines)) <= 120
    assert any(line.split()[:4] == ["sapiens1-t3-humans-5k", "7", "sapiens-v1,", "Table"] for line in lines)


def test_costs_on_the_cards_are_those_that_the_profiler_counts(call: Call, tmp_path: Path) -> None:
    names = ("movenet-lightning", "sapiens-0.3b-seg", "pifuhd", "selfie-segmentation")
    assert call("profile", "--models", ",".join(names), "--counts", "--out", tmp_path / "p")[0] == 0
    rows = {row["model"]: row["counts"] for row in json.loads((tmp_path / "p" / "profile.json").read_text())["rows"]}
    models = Catalog.load().models
    for name in names:
        variant = models[name].variant
        assert variant.gmacs == pytest.approx(rows[name]["macs_total"] / 1e9, rel=1e-3), name
        assert variant.params_m == pytest.approx(rows[name]["params_total"] / 1e6, rel=0.02), name
