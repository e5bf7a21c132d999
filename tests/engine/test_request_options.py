"""Which options of a request reach which models and data sets, and what is refused by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sapiens_bench.cards.catalog import Catalog, ModelEntry
from sapiens_bench.engine.data_specs import find_data
from sapiens_bench.engine.model_specs import with_options
from sapiens_bench.engine.request import Request
from sapiens_bench.errors import CardError, DataMissing, UnknownName


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load()


def entry(catalog: Catalog, name: str, wrapper: str, task: str, **options: Any) -> ModelEntry:
    """A variant that no card holds."""
    of = catalog.model("movenet-thunder")
    card = of.card.model_copy(update={"wrapper": wrapper, "task": task})
    return replace(of, card=card, variant=of.variant.model_copy(update={"id": name, "options": options}))


@pytest.mark.parametrize("asked", ["kind", "depth_kind"])
@pytest.mark.parametrize("written", ["kind", "depth_kind"])
def test_an_option_goes_over_that_of_a_card_under_either_spelling(catalog: Catalog, asked: str, written: str) -> None:
    stored = entry(catalog, "d", "predictions", "depth", **{written: "metric_depth"})
    found = with_options([stored], {asked: "scale_invariant_depth"}, {"d"}).all[0]
    assert found.refusal is None
    assert found.options == {written: "scale_invariant_depth"}


def test_both_spellings_of_an_option_have_one_form_and_together_they_are_refused(catalog: Catalog) -> None:
    plain = entry(catalog, "d", "predictions", "depth")
    old, new = (with_options([plain], {name: "metric_depth"}, {"d"}).all[0].options for name in ("kind", "depth_kind"))
    assert old == new == {"depth_kind": "metric_depth"}
    with pytest.raises(CardError, match=r"model d .*'kind' and 'depth_kind' are one option"):
        with_options([plain], {"kind": "metric_depth", "depth_kind": "metric_depth"}, {"d"})


@pytest.fixture
def both(catalog: Catalog) -> list[ModelEntry]:
    """Two models of one wrapper, of which one has no use for ``score``."""
    outputs = {"maps": "heatmap", "bins": "simcc"}
    return [entry(catalog, name, "onnx", "pose", output=output) for name, output in outputs.items()]


def test_an_option_that_does_not_go_with_a_card_passes_by_a_model_that_was_not_named(
    catalog: Catalog, both: list[ModelEntry]
) -> None:
    found = with_options(both, {"score": "mean", "padding": 1.5}, catalog.names(["all"]))
    assert [candidate.options for candidate in found.all] == [
        {"output": "heatmap", "padding": 1.5},
        {"output": "simcc", "score": "mean", "padding": 1.5},
    ]
    assert len(found.notes) == 1
    assert "--option score does not reach maps" in found.notes[0]
    assert "'score' goes with output: simcc" in found.notes[0]


def test_an_option_that_does_not_go_with_a_model_named_exactly_is_refused_by_name(
    catalog: Catalog, both: list[ModelEntry]
) -> None:
    with pytest.raises(CardError, match=r"--option score: model maps .*goes with output: simcc"):
        with_options(both, {"score": "mean"}, catalog.names(["bins, maps"]))


@pytest.mark.parametrize("asked", [{"score": "mean"}, {"output": "simcc", "codec": "plain"}])
def test_an_option_that_reaches_no_model_or_contradicts_another_is_refused(
    asked: dict[str, Any], both: list[ModelEntry]
) -> None:
    with pytest.raises(CardError, match=r"--option.* (score|codec).*goes with output"):
        with_options(both[:1], asked, set())


def test_a_wrong_value_is_refused_for_models_that_were_not_named_too(both: list[ModelEntry]) -> None:
    for wrong in ({"blur_kernel": 10}, {"score": "median"}):
        with pytest.raises(CardError, match=next(iter(wrong))):
            with_options(both, wrong, set())


def test_a_card_that_contradicts_itself_is_that_models_affair(catalog: Catalog, both: list[ModelEntry]) -> None:
    broken = entry(catalog, "broken", "onnx", "pose", output="coords")
    found = with_options([*both, broken], {"padding": 1.5}, {"maps"}).all
    assert [candidate.refusal is None for candidate in found] == [True, True, False]
    assert "needs 'units'" in str(found[2].refusal)


def test_without_a_data_set_named_those_that_lack_an_option_are_no_reason_for_what_is_missing(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAPIENS_BENCH_CACHE", str(tmp_path / "cache"))
    request = Request(task="pose", data_options={"renumber": True}, data_root=tmp_path)
    with pytest.raises(DataMissing, match="No data set for pose that has 'renumber' is on this machine") as caught:
        find_data(request.data(), catalog, {})
    assert "unknown key" not in str(caught.value)
    assert not (tmp_path / "cache" / "data").exists()


def test_without_a_data_set_named_those_that_lack_an_option_are_left_out_with_a_note(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAPIENS_BENCH_CACHE", str(tmp_path / "cache"))
    both = {name: catalog.dataset(name) for name in ("synthetic-humans", "coco-val2017")}
    few = replace(catalog, datasets=both)
    request = Request(task="pose", data_options={"split": "tiny"}, data_root=tmp_path, limit=1)
    search = find_data(request.data(), few, {})
    assert [data.spec.id for data in search.found] == ["synthetic-humans"]
    assert "Data set coco-val2017 is left out: it has no option 'split'." in search.notes


def test_a_data_option_that_no_data_set_of_the_task_has_is_refused_with_the_nearest_name(catalog: Catalog) -> None:
    with pytest.raises(UnknownName, match=r"'renumbr'.* Did you mean 'renumber'"):
        find_data(Request(task="pose", data_options={"renumbr": True}).data(), catalog, {})
