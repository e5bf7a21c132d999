"""docs/results.md and docs/run_folder.md do what they say: every command and block, on a run in the place they name."""

from __future__ import annotations

import re
import shlex
import shutil
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import sapiens_bench

Call = Callable[..., tuple[int, str, str]]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


@pytest.fixture
def there(pose_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with results/runs/NAME, A and B."""
    for name in ("NAME", "A", "B"):
        shutil.copytree(pose_run, tmp_path / "results" / "runs" / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(webbrowser, "open", lambda url: True)
    return tmp_path


def commands(page: Path) -> Iterator[str]:
    for _, body in FENCED.findall(page.read_text(encoding="utf-8")):
        for line in body.splitlines():
            if line.startswith("sapiens-bench "):
                yield line.partition("#")[0].replace("MODEL", "movenet-lightning")


@pytest.mark.slow
def test_every_command_of_the_page_on_results_runs(there: Path, repository: Path, call: Call) -> None:
    ran = list(commands(repository / "docs" / "results.md"))
    for line in ran:
        code, out, err = call(*shlex.split(line)[1:])
        assert code == 0, f"{line}\n{out}{err}"
    assert len(ran) >= 7
    for made in ("report.html", "coco", "samples/samples.json", "site/index.html"):
        assert (there / made).exists(), made


@pytest.mark.slow
def test_the_python_of_the_page_on_run_folders(there: Path, repository: Path) -> None:
    text = (repository / "docs" / "run_folder.md").read_text(encoding="utf-8")
    (block,) = [body for language, body in FENCED.findall(text) if language == "python"]
    assert 'evaluate(task="pose", models=["movenet-thunder"], limit=8)' in block

    def evaluate(**asked: object) -> object:
        return sapiens_bench.evaluate(**{**asked, "split": "tiny", "limit": 3, "n_boot": 0, "out": there / "small"})  # type: ignore[arg-type]

    asked = block.replace('"movenet-thunder"', '"movenet-lightning"')
    exec(
        compile(asked, "run_folder.md", "exec"),
        {"sapiens_bench": SimpleNamespace(evaluate=evaluate, api=sapiens_bench.api)},
    )
