"""docs/run_folder.md says what the types say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sapiens_bench.store.commits import SCHEMA as COMMIT
from sapiens_bench.store.fingerprint import SCHEMA as CELL
from sapiens_bench.store.fingerprint import UNSEALED
from sapiens_bench.store.record import SCHEMA as RUN
from sapiens_bench.store.rows import BASE


def test_the_tables_of_the_record_are_current(repository: Path) -> None:
    tool = repository / "tools" / "record_reference.py"
    done = subprocess.run([sys.executable, str(tool), "--check"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, "run tools/record_reference.py"


def test_every_base_column_and_schema_is_told(repository: Path) -> None:
    text = (repository / "docs" / "run_folder.md").read_text(encoding="utf-8")
    for name in (*BASE, COMMIT, RUN, UNSEALED):
        assert f"`{name}`" in text, name
    assert CELL == "cell/2"
