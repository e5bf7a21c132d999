"""`verify golden` on the official fixtures, and on fixtures that were tampered with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.checks.golden.check import compare
from sapiens_bench.checks.golden.verify import verify
from sapiens_bench.errors import DataMissing


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load()


@pytest.mark.parametrize("part", ["codec", "eval", "models"])
def test_every_item_of_the_official_sapiens_fixtures_passes(shared: Path, catalog: Catalog, part: str) -> None:
    checks = list(verify(shared / "golden" / "sapiens-v1" / part, catalog))
    assert len(checks) > 20
    assert [(c.item, c.difference, c.note) for c in checks if not c.passed] == []


def test_embedded_networks_equal_their_own_runtimes(shared: Path, catalog: Catalog) -> None:
    checks = list(verify(shared / "golden" / "embedded", catalog))
    assert len(checks) > 40
    assert [(c.item, c.difference) for c in checks if not c.passed] == []


def test_an_unknown_file_fails(tmp_path: Path, catalog: Catalog) -> None:
    (tmp_path / "mystery.npz").write_bytes(b"x")
    (check,) = verify(tmp_path, catalog)
    assert not check.passed
    assert "does not know" in check.note


def test_a_changed_expected_number_fails(shared: Path, tmp_path: Path, catalog: Catalog) -> None:
    folder = tmp_path / "eval"
    shutil.copytree(shared / "golden" / "sapiens-v1" / "eval", folder)
    expected = json.loads((folder / "expected.json").read_text())
    expected["depth"]["mean_over_images"]["rmse"] *= 1.001
    expected["losses"]["silog"] += 1e-3
    expected["a_new_metric"] = {}
    (folder / "expected.json").write_text(json.dumps(expected))
    bad = {c.item for c in verify(folder, catalog) if not c.passed}
    assert bad == {"depth/mean/rmse", "losses/silog", "expected.json/a_new_metric"}


def test_a_damaged_fixture_is_reported_and_the_others_go_on(shared: Path, tmp_path: Path, catalog: Catalog) -> None:
    folder = tmp_path / "codec"
    shutil.copytree(shared / "golden" / "sapiens-v1" / "codec", folder)
    (folder / "bbox_affine.npz").write_bytes(b"not an archive")
    checks = list(verify(folder, catalog))
    assert [c.item for c in checks if not c.passed] == ["bbox_affine.npz"]
    assert any(c.item.startswith("udp_codec") for c in checks)


def test_missing_or_empty_folders_are_named(tmp_path: Path, catalog: Catalog) -> None:
    with pytest.raises(DataMissing, match="not a folder"):
        list(verify(tmp_path / "nowhere", catalog))
    with pytest.raises(DataMissing, match="empty"):
        list(verify(tmp_path, catalog))


def test_compare_refuses_other_shapes_and_nan_places() -> None:
    assert compare("x", [1.0, np.nan], [1.0, np.nan], 0).passed
    assert not compare("x", [1.0, np.nan], [np.nan, 1.0], 1e9).passed
    assert not compare("x", np.zeros((2, 1)), np.zeros(2), 1e9).passed
    assert compare("x", [np.inf], [np.inf], 0).difference == 0
