"""The documentation runs: its blocks are written to a folder and executed as a reader would."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from forked_commands import forked

PAGES = (
    "add_a_dataset.md", "add_a_model.md", "add_a_task.md", "cluster.md", "decide.md", "own_model.md", "probe.md",
    "study.md",
)  # fmt: skip
BLOCK = re.compile(r"^```(\w+) ?([^\n`]*)\n(.*?)^```$", re.M | re.S)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_the_page_does_what_it_says(repository: Path, tmp_path: Path, page: str) -> None:
    if page == "cluster.md":
        pytest.importorskip("ray")
    ran = 0
    for language, about, body in BLOCK.findall((repository / "docs" / page).read_text(encoding="utf-8")):
        if language == "sh":
            for line in body.strip().splitlines():
                ran += 1
                done = _run(shlex.split(line), tmp_path)
                assert (done.returncode == 0) is (about != "fails"), f"{line}\n{done.stdout}{done.stderr}"
                assert "Traceback" not in done.stderr
        elif about:
            path = tmp_path / about
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(body, encoding="utf-8")
    assert ran


def _run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    if words[0] == "sapiens-bench":
        return forked(words[1:], folder)
    environment = {**os.environ, "COLUMNS": "160"}
    return subprocess.run(
        [sys.executable, *words[1:]], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def test_links_of_the_pages_lead_somewhere(repository: Path) -> None:
    for page in (repository / "docs").glob("*.md"):
        targets = [t for t in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")) if "://" not in t]
        assert [t for t in targets if not (page.parent / t).exists()] == [], page.name


def test_generated_pages_are_current(repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(repository / "tools" / "generate_docs.py"), "--check"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
