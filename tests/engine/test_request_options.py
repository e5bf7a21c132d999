"""Which options of a request reach which models and data sets, and what is refused by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sapiens_bench.cards.catalog import Catalog, ModelEntry
from sapiens_bench.engine.model_specs import with_options
from sapiens_bench.errors import CardError


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
    found = with_options([stored], {asked: "scale_invariant_depth"}).all[0]
    assert found.refusal is None
    assert found.options == {written: "scale_invariant_depth"}


def test_both_spellings_of_an_option_have_one_form_and_together_they_are_refused(catalog: Catalog) -> None:
    plain = entry(catalog, "d", "predictions", "depth")
    old, new = (with_options([plain], {name: "metric_depth"}).all[0].options for name in ("kind", "depth_kind"))
    assert old == new == {"depth_kind": "metric_depth"}
    with pytest.raises(CardError, match="model d .*'kind' and 'depth_kind' are one option"):
        with_options([plain], {"kind": "metric_depth", "depth_kind": "metric_depth"})
