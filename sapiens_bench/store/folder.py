"""Opening a run folder for writing: nothing in it is touched before it is certain that the request belongs there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sapiens_bench.errors import FingerprintMismatch, ShardDamaged, StoreError
from sapiens_bench.store.adopt import adopt
from sapiens_bench.store.files import read_json, refuse_links, remove_strays, write_atomic
from sapiens_bench.store.fingerprint import FILE as CELL_FILE
from sapiens_bench.store.fingerprint import Claim, check_claim, differing, is_sealed, sealed, unsealed, write_claim
from sapiens_bench.store.lock import locked
from sapiens_bench.store.paths import set_aside
from sapiens_bench.store.record import FILE as RUN_FILE
from sapiens_bench.store.record import RunRecord, read_run
from sapiens_bench.store.rows import read_shard, shard_files

PLAN_FILE = "plan.json"
_OURS = ("rows", "preds", "maps", "quarantine", "failed", "scores.json", PLAN_FILE, RUN_FILE)


class CellClaim(NamedTuple):
    """A cell that a request wants to fill."""

    folder: str  # ``Cell.folder``
    fields: Mapping[str, Any]  # what its fingerprint covers
    shard_size: int


@dataclass(slots=True)
class RunFolder:
    """A run folder that this process holds."""

    root: Path
    previous: RunRecord | None = None  # what the folder's record said before; None: a new folder, or a damaged record
    notes: list[str] = field(default_factory=list)  # what was found and mended, for the user


@contextmanager
def open_run(root: Path, plan: Mapping[str, Any], cells: Sequence[CellClaim]) -> Iterator[RunFolder]:
    """Lock a run folder, and make it the folder of this plan or check that it is.

    Until every check has passed nothing is written but the lock, so that a refused request leaves a finished run as it
    was. A damaged ``plan.json``, ``cell.json`` or ``run.json`` is set aside and made again: the rows are the truth.

    Args:
        root: the folder; may not exist, may be a link.
        plan: content of ``plan.json``: what must not change while the folder is being filled.
        cells: the cells of the plan.

    Raises:
        FolderInUse: another run works there.
        FingerprintMismatch: the folder holds another run; names what differs.
        PathEscape: a link inside the folder.
        StorageFull: no room or no permission.
    """
    with locked(root) as note:
        for name in (*_OURS, *(f"{kind}/{cell.folder}" for kind in ("rows", "preds", "maps") for cell in cells)):
            refuse_links(root, root / name)
        state = _check_plan(root, plan)
        claims = [check_claim(root / "rows" / c.folder, c.fields, c.shard_size) for c in cells]
        for claim in claims:
            _check_rows(claim)
        folder = RunFolder(root, notes=[note] if note else [])
        remove_strays(root)
        if state != "same":
            if state == "none":
                _put_back(folder, root / PLAN_FILE)
            write_atomic(root / PLAN_FILE, json.dumps(sealed(plan), ensure_ascii=False).encode() + b"\n")
        for claim, cell in zip(claims, cells):
            _settle(folder, claim, cell)
        folder.previous = _previous(folder)
        yield folder


def read_plan(root: Path) -> dict[str, Any]:
    """What plan.json says, without its seal. Plans of earlier versions have none.

    Raises:
        FileNotFoundError: there is none.
        StoreError: it is damaged.
    """
    content = read_json(root / PLAN_FILE)
    try:
        return content if isinstance(content, dict) and "seal" not in content else unsealed(content)
    except StoreError as error:
        raise StoreError(f"{root / PLAN_FILE} is damaged: {error}.") from None


def _check_plan(root: Path, plan: Mapping[str, Any]) -> Literal["none", "same", "grown"]:
    """Whether plan.json says the same, the same with fewer models, or is not there or cannot be read."""
    try:
        old = read_plan(root)
    except (FileNotFoundError, StoreError):
        return "none"
    if set(old) != set(plan):  # a name was spoilt, the seal's perhaps; the claims of the cells still guard the rows
        return "none"
    new = json.loads(json.dumps(plan))
    before, now = old.get("models"), new.get("models")
    has_grown = isinstance(before, list) and isinstance(now, list) and set(before) < set(now)
    if differences := differing(old, {**new, "models": before} if has_grown else new):
        raise FingerprintMismatch(
            f"{root} holds another run: {'; '.join(differences[:5])}. Give another --out, or delete the folder."
        )
    return "grown" if has_grown else "same"


def _check_rows(claim: Claim) -> None:
    """Rows beside a missing or damaged cell.json must say themselves that they are of this experiment."""
    if claim.state not in ("new", "damaged"):
        return
    for number in shard_files(claim.folder):
        try:
            shard = read_shard(claim.folder, number, sealed=False)
        except ShardDamaged:
            continue  # will be set aside
        if shard is not None and shard[1].fingerprint != claim.digest:
            raise FingerprintMismatch(
                f"{claim.folder} holds rows of another experiment, and its {CELL_FILE} cannot tell in what it differs. "
                f"Give another --out, or delete that folder."
            )


def _settle(folder: RunFolder, claim: Claim, cell: CellClaim) -> None:
    """Write cell.json where it is new or damaged; give rows of an earlier version their commit records."""
    unsealed = claim.state == "old" or (claim.state != "same" and not is_sealed(claim.folder))
    if unsealed and (n := adopt(folder.root, cell.folder)):
        folder.notes.append(
            f"{cell.folder}: {n} shard(s) were written by a version that kept no hashes. They were hashed as they are "
            f"now: a change from before cannot be seen."
        )
    if claim.state == "damaged":
        _put_back(folder, claim.folder / CELL_FILE)
    if claim.state != "same":
        write_claim(claim)


def _put_back(folder: RunFolder, path: Path) -> None:
    """Make room for a file that is written anew because what stands there cannot be read."""
    if path.exists():
        set_aside(folder.root, path)
        folder.notes.append(
            f"{path.relative_to(folder.root)} was damaged: it was moved to quarantine/ and made again from the rows."
        )


def _previous(folder: RunFolder) -> RunRecord | None:
    path = folder.root / RUN_FILE
    if not path.exists():
        return None
    try:
        return read_run(folder.root)
    except StoreError:
        _put_back(folder, path)
        return None
