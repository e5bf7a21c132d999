from __future__ import annotations

import pytest
import torch
from torch import nn

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.engine.profile_build import paper_record
from sapiens_bench.models.sapiens_net import SIZES
from sapiens_bench.profiling import paper


@pytest.mark.parametrize("size", SIZES)
def test_table_2_is_reproduced_to_every_printed_digit(size: str) -> None:
    catalog = Catalog.load()
    record = paper_record(catalog.model(f"sapiens-{size}"), catalog)
    assert record is not None
    assert f"{record.tflops:.3f}" == f"{record.printed_tflops:.3f}"
    assert f"{record.params_b:.3f}" == f"{record.printed_params_b:.3f}"


def test_the_printed_numbers_are_those_of_the_paper() -> None:
    catalog = Catalog.load()
    records = [paper_record(catalog.model(f"sapiens-{size}"), catalog) for size in SIZES]
    assert [r.printed_tflops for r in records if r] == [1.242, 2.583, 4.647, 8.709]
    assert [r.printed_params_b for r in records if r] == [0.336, 0.664, 1.169, 2.163]


def test_true_cost_beside_it_equals_the_count_of_the_official_encoder() -> None:
    expected = {"0.3b": 4.131, "0.6b": 7.913, "1b": 13.414, "2b": 23.599}
    for size, tflops in expected.items():
        assert round(2 * paper.true_macs(paper.Encoder(*SIZES[size][:2])) / 1e12, 3) == tflops


def test_block_parameters_equal_those_of_torch_s_layer() -> None:
    width = 24
    with torch.device("meta"):
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width)
    assert paper.block_parameters(width) == sum(p.numel() for p in layer.parameters())


def test_other_families_have_no_paper_column() -> None:
    catalog = Catalog.load()
    assert paper_record(catalog.model("movenet-thunder"), catalog) is None
