"""Opening a run folder: a refused request leaves no trace, a damaged file is made again, a link is not followed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sapiens_bench.errors import FingerprintMismatch, FolderInUse, PathEscape, StorageFull
from sapiens_bench.store.commits import commit_path
from sapiens_bench.store.fingerprint import fingerprint
from sapiens_bench.store.folder import CellClaim, RunFolder, open_run
from sapiens_bench.store.record import RunRecord, write_run
from sapiens_bench.store.rows import commit_shard, committed, item_key, read_rows

CELL = "pose/set/plain/model"
PLAN: dict[str, Any] = {"schema": "plan/1", "datasets": {"set": {"keys": ["s0", "s1"]}}, "seed": 0}
FIELDS: dict[str, Any] = {"precision": "fp32", "samples": {"n": 2}}
CLAIMS = [CellClaim(CELL, FIELDS, 2)]


def opened(root: Path, plan: dict[str, Any] = PLAN, claims: list[CellClaim] = CLAIMS) -> RunFolder:
    with open_run(root, plan, claims) as folder:
        return folder


def put_rows(root: Path, fields: dict[str, Any] = FIELDS) -> Path:
    digest = fingerprint(fields)
    base = {"group": "g", "status": "ok", "error_code": "", "error_detail": "", "error_side": ""}
    rows = [{"index": i, "key": f"s{i}", **base} for i in range(2)]
    meta = {"fingerprint": digest, "item_key": item_key(digest, ["s0", "s1"])}
    return commit_shard(root / "rows" / CELL, 0, rows, meta, predictions=0)


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A folder with a finished run."""
    root = tmp_path / "run"
    with open_run(root, PLAN, CLAIMS):
        put_rows(root)
        write_run(root, RunRecord(status="done", task="pose", command="first"))
    return root


def content(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_a_new_folder_gets_plan_and_claims(tmp_path: Path) -> None:
    folder = opened(tmp_path / "new")
    assert (folder.previous, folder.notes) == (None, [])
    assert sorted(content(folder.root)) == ["plan.json", f"rows/{CELL}/cell.json"]


def test_the_same_request_finds_the_record_and_changes_nothing(finished: Path) -> None:
    before = content(finished)
    folder = opened(finished)
    assert folder.previous is not None
    assert folder.previous.command == "first"
    assert folder.notes == []
    assert content(finished) == before


@pytest.mark.parametrize(
    ("plan", "claims", "named"),
    [
        ({**PLAN, "seed": 1}, CLAIMS, "seed: 0 there, 1 now"),
        (PLAN, [CellClaim(CELL, {**FIELDS, "precision": "bf16"}, 2)], "precision: 'fp32' there, 'bf16' now"),
        (
            {**PLAN, "datasets": {"set": {"keys": [f"{i}" for i in range(13)]}}},
            CLAIMS,
            "2 there, 13 now, not the same from number 1 on",
        ),
        (PLAN, [CellClaim("pose/set/plain/other", FIELDS, 2), CellClaim(CELL, FIELDS, 3)], "shard_size: 2 there"),
    ],
    ids=["plan", "fields", "keys", "cut"],
)
def test_a_refused_request_leaves_a_finished_run_as_it_was(
    finished: Path, plan: dict[str, Any], claims: list[CellClaim], named: str
) -> None:
    before = content(finished)
    with pytest.raises(FingerprintMismatch, match=named):
        opened(finished, plan, claims)
    assert content(finished) == before


@pytest.mark.parametrize("damage", [b"", b"{", b'{"schema": "plan/1"', b"[" * 100_000, b"\xff\xfe", b"[]"])
@pytest.mark.parametrize("name", ["plan.json", "run.json", f"rows/{CELL}/cell.json"])
def test_a_damaged_file_is_set_aside_and_made_again(finished: Path, name: str, damage: bytes) -> None:
    rows = read_rows(finished / "rows" / CELL)
    (finished / name).write_bytes(damage)
    folder = opened(finished)
    assert [note for note in folder.notes if name in note and "quarantine/" in note]
    assert (finished / "quarantine" / name).read_bytes() == damage
    assert (folder.previous is None) == (name == "run.json")
    assert read_rows(finished / "rows" / CELL).equals(rows)
    if name != "run.json":
        assert json.loads((finished / name).read_bytes())
    assert opened(finished).notes == []


def test_rows_of_another_experiment_are_not_adopted_when_their_claim_is_lost(finished: Path) -> None:
    put_rows(finished, {**FIELDS, "precision": "bf16"})
    (finished / "rows" / CELL / "cell.json").write_bytes(b"{")
    with pytest.raises(FingerprintMismatch, match="rows of another experiment"):
        opened(finished)


@pytest.mark.parametrize("name", ["rows", "run.json", f"preds/{CELL}", "quarantine", "rows/pose"])
def test_a_link_inside_the_folder_is_refused_by_name(finished: Path, tmp_path: Path, name: str) -> None:
    place, elsewhere = finished / name, tmp_path / "elsewhere"
    if place.exists():
        place.rename(elsewhere)
    else:
        elsewhere.mkdir()
        place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(elsewhere)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(PathEscape, match="is a link"):
        opened(finished)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_folder_itself_may_be_a_link(finished: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(finished)
    assert opened(link).previous is not None


def test_two_runs_at_once_are_refused_in_one_process_too(finished: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(finished)
    with open_run(finished, PLAN, CLAIMS), pytest.raises(FolderInUse, match="this process"):
        opened(link)
    assert opened(finished).notes == []


def test_a_folder_that_may_not_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(Exception, match="could not be written") as caught:
        opened(tmp_path / "file" / "run")
    assert not isinstance(caught.value, StorageFull)  # neither room nor permission would help


def as_of_the_earlier_version(root: Path) -> Path:
    """The folder as a version without commit records left it."""
    folder = root / "rows" / CELL
    claim = json.loads((folder / "cell.json").read_text())
    (folder / "cell.json").write_text(json.dumps({**claim, "schema": "cell/1"}))
    commit_path(folder, 0).unlink()
    return folder


def test_shards_of_an_earlier_version_are_hashed_as_they_are_and_that_is_said(finished: Path) -> None:
    folder = as_of_the_earlier_version(finished)
    rows = read_rows(folder)  # read without being run
    notes = opened(finished).notes
    assert "1 shard(s) were written by a version that kept no hashes" in notes[0]
    commit = committed(folder, 0)
    assert commit is not None
    assert (commit.rows, commit.predictions) == (2, None)
    assert read_rows(folder).equals(rows)
    assert opened(finished).notes == []
    assert json.loads((folder / "cell.json").read_text())["schema"] == "cell/2"


def test_a_broken_shard_of_an_earlier_version_is_not_hashed(finished: Path) -> None:
    folder = as_of_the_earlier_version(finished)
    path = folder / "shard-00000.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    assert opened(finished).notes == []
    assert committed(folder, 0) is None


@pytest.mark.parametrize("name", ["plan.json", f"rows/{CELL}/cell.json"])
def test_a_flipped_bit_in_a_plan_or_claim_is_damage_and_no_other_experiment(finished: Path, name: str) -> None:
    path = finished / name
    data = path.read_bytes()
    key = 8 * data.index(b'"seal"')
    bits = np.random.default_rng(0).choice(len(data) * 8, 150, replace=False).tolist()
    for bit in (*bits, *range(key, key + 48)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(changed)
        opened(finished)
        assert json.loads(path.read_bytes()) == json.loads(data), bit
        assert committed(finished / "rows" / CELL, 0) is not None


def test_plans_of_an_earlier_version_have_no_seal_and_are_read(finished: Path) -> None:
    (finished / "plan.json").write_text(json.dumps(PLAN))
    assert opened(finished).notes == []
    with pytest.raises(FingerprintMismatch, match="seed"):
        opened(finished, {**PLAN, "seed": 3})
