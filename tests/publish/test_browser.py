"""The page in a real browser, where one is installed: its script runs under its own policy, and nothing else does."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.publish.page import page
from sapiens_bench.report.page import render
from sapiens_bench.store.record import read_run

BROWSER = next((p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")]


def opened(path: Path, profile: Path) -> tuple[str, str]:
    """(the document after its script ran, what the browser complained about)."""
    assert BROWSER is not None
    command = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
               "--enable-logging=stderr", "--dump-dom", path.as_uri()]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, errors="replace")
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def text(pose_run: Path) -> str:
    return render(page([("pose", pose_run, read_run(pose_run))], Catalog.load()))


def test_the_pages_script_makes_tables_sortable_and_nothing_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(text)
    document, complaints = opened(tmp_path / "page.html", tmp_path / "profile")
    assert len(re.findall(r"<th[^>]*><button", document)) > 5
    assert document.count('class="sorter"') >= 2
    assert "Refused" not in complaints
    assert "Uncaught" not in complaints


def test_a_script_that_got_in_would_not_run(text: str, tmp_path: Path) -> None:
    planted = text.replace("<main>", "<main><script>document.title = 'taken'</script>", 1)
    planted = planted.replace("<h1>", '<h1 onclick="x()"><img src="x" onerror="document.title = \'taken\'">', 1)
    (tmp_path / "page.html").write_text(planted)
    document, _ = opened(tmp_path / "page.html", tmp_path / "profile")
    assert "<title>taken" not in document
    assert "<th" in document
