"""The page: whole, harmless, honest about what is missing, and its links lead somewhere."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.errors import UsageError
from sapiens_bench.publish.page import Choices, page
from sapiens_bench.report.page import Page, render
from sapiens_bench.store.record import read_run, write_run

HOSTILE = '<script>alert(1)</script>"\'`$x$ {{7*7}} id="a" xlink:href="case:b" \u202eevil\x1b[31m'


def made(*roots: Path, choices: Choices | None = None) -> Page:
    return page([(root.name, root, read_run(root)) for root in roots], Catalog.load(), choices)


class Seen(HTMLParser):
    """Tags, ids and addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.handlers: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "xlink:href"):
                self.links.append(value or "")
            if name == "src":
                self.sources.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)


@pytest.fixture(scope="module")
def four(pose_run: Path, seg_run: Path, depth_run: Path, normal_run: Path) -> str:
    return render(made(pose_run, seg_run, depth_run, normal_run))


def test_one_page_of_four_tasks_holds_everything_and_asks_for_nothing(four: str) -> None:
    seen = Seen(four)
    assert seen.tags.count("script") == 1
    assert seen.handlers == []
    assert {source.partition(",")[0] for source in seen.sources} == {"data:image/webp;base64"}
    assert all(link.startswith("#") for link in seen.links)
    assert len(four) < 15e6
    for words in ("Paired differences", "Error diagnosis", "Reliability of keypoint scores", "Risk against coverage",
                  "IoU by class", "Angles between predicted", "Error by joint", "OKS of people", "Gallery",
                  "Provenance"):  # fmt: skip
        assert words in four


def test_every_link_leads_to_something_and_no_two_things_share_an_id(four: str) -> None:
    seen = Seen(four)
    assert {link[1:] for link in seen.links} - set(seen.ids) == set()
    assert len(seen.ids) == len(set(seen.ids))


def test_points_of_the_plot_of_images_lead_to_their_pictures(four: str) -> None:
    drawn = [svg for svg in re.findall(r"<svg.*?</svg>", four, re.DOTALL) if 'href="#r0b0-case-' in svg]
    assert len(drawn) == 1
    assert len(re.findall(r'<a href="#r0b0-case-\d+"', drawn[0])) >= 6


def test_plots_are_sound_xml_in_the_colours_of_the_page(four: str) -> None:
    drawings = re.findall(r'<svg viewBox="[^"]*" role="img" xmlns.*?</svg>', four, re.DOTALL)
    assert len(drawings) > 12
    for svg in drawings:
        ElementTree.fromstring(svg.replace("<svg ", '<svg xmlns:xlink="http://www.w3.org/1999/xlink" ', 1))
        assert "var(--" in svg
        assert "<style" not in svg


def test_the_policy_lets_the_pages_own_script_run_and_no_other(four: str) -> None:
    script = re.search(r"<script>(.*?)</script>", four, re.DOTALL)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', four)
    assert policy is not None
    assert f"script-src 'sha256-{digest}'" in policy[1]
    assert policy[1].startswith("default-src 'none'; img-src data:")


@pytest.fixture(scope="module")
def pose_page(pose_run: Path) -> Page:
    return made(pose_run)


def test_the_same_run_gives_the_same_bytes(pose_run: Path, pose_page: Page) -> None:
    assert render(made(pose_run)) == render(pose_page)


def test_losses_and_ap_of_every_model_add_up_to_a_hundred(pose_page: Page) -> None:
    group = next(g for g in pose_page.parts[0].groups if g.title == "Error diagnosis")
    for row in group.sheets[0].rows:
        assert sum(map(float, row[1:])) == pytest.approx(100, abs=0.05)


def changed(run: Path, out: Path, change: Callable[[dict], None]) -> Path:  # type: ignore[type-arg]
    """A copy of a run whose record says something else."""
    shutil.copytree(run, out)
    data = json.loads((out / "run.json").read_text())
    change(data)
    (out / "run.json").write_text(json.dumps(data))
    return out


def test_hostile_names_stay_text(pose_run: Path, pose_page: Page, tmp_path: Path) -> None:
    def spoil(data: dict) -> None:  # type: ignore[type-arg]
        for cell in data["cells"]:
            cell["title"] = cell["trained_on"] = cell["licence"] = HOSTILE
        data["command"] = HOSTILE
        data["notes"] = [HOSTILE]
        data["datasets"]["synthetic-humans"]["title"] = HOSTILE

    text = render(made(changed(pose_run, tmp_path / "r", spoil)))
    seen, plain = Seen(text), Seen(render(pose_page))
    assert "alert(1)" in text
    assert set(seen.tags) - {"footer"} == set(plain.tags)
    assert seen.tags.count("script") == 1
    assert seen.handlers == []
    assert {link[1:] for link in seen.links} - set(seen.ids) == set()
    assert "\u202e" not in text
    assert "\x1b" not in text


def test_an_incomplete_run_is_headed_so(pose_run: Path, tmp_path: Path) -> None:
    def cut(data: dict) -> None:  # type: ignore[type-arg]
        data["status"] = "interrupted"
        data["cells"][0]["counts"]["planned"] = 12
        data["cells"][0]["status"] = "incomplete"

    found = made(changed(pose_run, tmp_path / "r", cut))
    assert found.incomplete
    assert "<strong>INCOMPLETE</strong>" in render(found)


def test_a_data_set_that_is_no_longer_the_same_gives_numbers_without_pictures(pose_run: Path, tmp_path: Path) -> None:
    def other(data: dict) -> None:  # type: ignore[type-arg]
        data["datasets"]["synthetic-humans"]["manifest_sha256"] = "0" * 64

    text = render(made(changed(pose_run, tmp_path / "r", other)))
    assert "is not the one that was scored" in text
    assert "data:image" not in text
    assert "Paired differences" in text


def licensed(data: dict) -> None:  # type: ignore[type-arg]
    data["cards"]["synthetic-humans"]["licence"] = {"name": "Not to be passed on"}


@pytest.mark.parametrize("task", ["pose", "seg"])
def test_pictures_of_a_licensed_data_set_are_embedded_only_when_asked_for(
    task: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run = changed(request.getfixturevalue(f"{task}_run"), tmp_path / "r", licensed)
    without = render(made(run))
    assert "data:image" not in without
    assert "--with-pictures" in without
    with_them = render(made(run, choices=Choices(with_pictures=True)))
    assert "data:image/webp" in with_them
    assert "Licence of the pictures: Not to be passed on" in with_them


def test_runs_that_scored_the_same_place_in_other_ways_are_refused_by_field(pose_run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(pose_run, other)
    for path in other.glob("rows/*/*/*/*/cell.json"):
        claim = json.loads(path.read_text())
        claim["fields"]["boxes"] = "jitter:0.1"
        path.write_text(json.dumps(claim))
    with pytest.raises(UsageError, match="boxes"):
        made(pose_run, other)


def test_a_run_without_intervals_says_why_nothing_is_compared(pose_run: Path, tmp_path: Path) -> None:
    def without(data: dict) -> None:  # type: ignore[type-arg]
        data["request"]["n_boot"] = 0

    found = made(changed(pose_run, tmp_path / "r", without))
    assert found.parts[0].groups[0].matrix is None
    assert "--n-boot 0" in render(found)


def test_models_with_equal_predictions_differ_by_nothing(pose_run: Path, tmp_path: Path) -> None:
    root = tmp_path / "r"
    shutil.copytree(pose_run, root)
    for kind in ("rows", "preds"):
        places = sorted((root / kind).glob("*/*/*/movenet-lightning"))
        shutil.rmtree(places[0].with_name("blazepose-lite"))
        shutil.copytree(places[0], places[0].with_name("blazepose-lite"))
    record = read_run(root)
    cell = next(c for c in record.cells if c.model == "movenet-lightning")
    twin = next(c for c in record.cells if c.model == "blazepose-lite")
    twin.scores = cell.scores
    write_run(root, record)
    matrix = made(root).parts[0].groups[0].matrix
    assert matrix is not None
    a, b = matrix.names.index(cell.title), matrix.names.index(twin.title)
    assert (matrix.cells[a][b].text, matrix.cells[a][b].verdict) == ("0.0", "")


def test_a_record_that_was_sent_without_its_rows_has_its_table_and_says_so(pose_run: Path, tmp_path: Path) -> None:
    shutil.copy(pose_run / "run.json", tmp_path / "run.json")
    text = render(made(tmp_path))
    assert "MoveNet Lightning" in text
    assert "nothing is compared" in text
    assert "Paired differences" not in text


def test_the_page_of_an_empty_run_is_its_table(tmp_path: Path) -> None:
    from sapiens_bench.cli.report import page_text
    from sapiens_bench.store.record import RunRecord

    write_run(tmp_path, RunRecord(status="done", task="pose"))
    text, incomplete = page_text([tmp_path], [read_run(tmp_path)], cards=[], with_pictures=False, data_root=None)
    assert "<h1>2D human pose</h1>" in text
    assert not incomplete
    assert "nothing was compared" not in render(made(tmp_path))
