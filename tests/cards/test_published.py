"""The conversion of the reference tables: every cell arrives, with its evidence."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.schema import PublishedTable


@pytest.fixture(scope="module")
def reference(shared: Path) -> dict[str, Any]:
    text = (shared / "reference" / "paper_tables.yaml").read_text("utf-8")
    found: dict[str, Any] = yaml.load(text, Loader=yaml.CSafeLoader)
    return found


@pytest.fixture(scope="module")
def tables() -> dict[str, PublishedTable]:
    return {table.id: table for table, _ in Catalog.load().published.values()}


def text_of(value: Any) -> list[str]:
    """Every scalar inside a nested value, as it would be printed."""
    if isinstance(value, dict):
        return [text for item in value.values() for text in text_of(item)]
    if isinstance(value, list):
        return [text for item in value for text in text_of(item)]
    return [str(value)] if not isinstance(value, bool) else []


def test_every_cell_is_there_once_with_value_confidence_source_and_note(
    reference: dict[str, Any], tables: dict[str, PublishedTable]
) -> None:
    before: Counter[tuple[Any, ...]] = Counter()
    for table in reference["tables"]:
        for row in table["rows"]:
            for key, cell in row["values"].items():
                facts = cell and (cell["value"], cell["confidence"], tuple(cell["source"]), cell.get("note", ""))
                before[table["id"], row["model"], key, facts] += 1
    after: Counter[tuple[Any, ...]] = Counter()
    for table in tables.values():
        for entry in table.entries:
            for name, row in entry.rows.items():
                for key, cell in row.items():
                    facts = cell and (cell.value, cell.confidence, cell.source, cell.note)
                    after[table.id, name, key, facts] += 1
    assert after == before
    assert sum(before.values()) > 700


def test_everything_said_about_a_table_or_row_is_kept(
    reference: dict[str, Any], tables: dict[str, PublishedTable]
) -> None:
    for table in reference["tables"]:
        card = tables[table["id"]]
        everything = card.model_dump_json()
        for key in ("paper", "table", "caption", "status", "split_size", "printed_gains", "notes", "dataset"):
            parts = text_of(table.get(key, []))
            if key == "dataset" and card.entries[0].dataset != table.get(key):
                continue  # replaced by the id of our data set
            assert all(part.replace('"', '\\"') in everything for part in parts), (table["id"], key)
        for part in text_of(table.get("protocol", {})):
            assert part.replace('"', '\\"') in everything, (table["id"], part)
        for fact in table["metrics"]:
            owners = [e for e in card.entries if fact["key"] in e.units]
            assert owners, (table["id"], fact["key"])
            assert {e.units[fact["key"]] for e in owners} == {fact["unit"]}
            assert {e.directions[fact["key"]] for e in owners} == {fact["direction"]}
        for row in table["rows"]:
            extra = {key for key, value in row.items() if key not in ("model", "values") and value is not None}
            kept = {k for e in card.entries for k in e.row_attributes.get(row["model"], {})}
            assert extra == kept, (table["id"], row["model"])


def test_sources_that_a_table_cites_are_spelt_out(tables: dict[str, PublishedTable]) -> None:
    for table in tables.values():
        cited = {s for e in table.entries for row in e.rows.values() for c in row.values() if c for s in c.source}
        assert cited == set(table.sources), table.id


def test_what_belongs_to_no_table_is_in_the_readme(reference: dict[str, Any], repository: Path) -> None:
    readme = (repository / "results" / "published" / "README.md").read_text("utf-8")
    for key in ("known_inconsistencies", "rejected_claims", "how_to_print", "confidence_levels", "sources"):
        for text in text_of(reference[key]):
            assert text in readme, key
    for row in reference["seed_rows"]:
        assert f"| {row['dataset']} | {row['metric']} |" in readme


def test_converting_again_gives_the_committed_files(shared: Path, repository: Path, tmp_path: Path) -> None:
    tool = repository / "tools" / "convert_reference.py"
    command = [sys.executable, str(tool), str(shared / "reference"), "--out", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    made = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    assert len(made) >= 45
    for path in made:
        assert (tmp_path / path).read_bytes() == (repository / path).read_bytes(), path
