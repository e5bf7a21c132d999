"""``sapiens-bench data check``: find a data set, verify its pinned files, open it under every protocol."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from sapiens_bench.cli.flags import Cards, DataRoot, Name, Select, Split
from sapiens_bench.cli.output import next_commands, say
from sapiens_bench.errors import (
    DataMissing,
    SampleFault,
    SapiensBenchError,
    TooManyErrors,
    UnknownName,
    VerificationFailed,
    raise_if_machine,
)

_OPENED = 8  # samples of each protocol
_SHOWN = 20  # notes and faults

if TYPE_CHECKING:
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.cards.schema import DatasetCard
    from sapiens_bench.types import Adapter


def check(name: Name, data_root: DataRoot = None, split: Split = "", select: Select = "", cards: Cards = None) -> None:
    """Find it, verify pinned files, open it under every protocol."""
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.cards.locate import dataset_root

    catalog = Catalog.load(cards or [])
    card = catalog.dataset(name)
    root = dataset_root(card, data_root)
    say(f"{card.title}: {root}")
    if card.checksums:
        say(f"  {len(card.checksums)} pinned file(s) have the right sha256")
    sound: list[str] = []
    usable = False
    missing: list[DataMissing] = []
    for protocol, facts in card.protocols.items():
        try:
            adapter = open_adapter(catalog, card, protocol, data_root, split, select)
        except SapiensBenchError as error:
            if isinstance(error, DataMissing):  # a folder of depth alone is sound for depth
                missing.append(error)
            elif facts.default:
                raise
            say(f"  {protocol}: not ready: {error}", "yellow")
            continue
        sound.append(facts.task)
        say(f"  {protocol}: {len(adapter)} images, manifest {adapter.manifest_sha256[:16]}")
        for note in tuple(getattr(adapter, "notes", ()))[:_SHOWN]:
            say(f"    note: {note}", "yellow")
        usable = _look(adapter) or usable
    if not sound and missing:
        raise missing[0]
    if sound and not usable:
        raise TooManyErrors(f"{card.id}: every sample that was opened is at fault.")
    if card.embedded:
        _check_renders(catalog, card, root, split)
    task = sound[0] if sound else next(iter(card.protocols.values())).task
    where = "" if card.embedded else f" --data-root {data_root}"
    where += f" --select {shlex.quote(select)}" if select else ""
    where += "".join(f" --cards {shlex.quote(str(path))}" for path in cards or ())
    next_commands([(f"sapiens-bench run --task {task} --dataset {card.id}{where}", "evaluate every model on it")])


def _look(adapter: Adapter) -> bool:
    """Say which labels are at fault, and open some samples, evenly spread; returns whether any of those was sound.

    Samples that have to be rendered are left for ``data prepare``.
    """
    from sapiens_bench.types import Materialised

    faults: dict[str, str] = dict(getattr(adapter, "label_faults", {}))
    n_labels, n = len(faults), len(adapter)
    looked_at = [] if isinstance(adapter, Materialised) else sorted({i * n // _OPENED for i in range(_OPENED)} - {n})
    n_unsound = 0
    for index in looked_at:
        try:
            adapter[index]
        except SampleFault as fault:
            raise_if_machine(fault)
            n_unsound += 1
            faults.setdefault(adapter.keys[index], f"{fault.code}: {fault.detail}")
    for key, text in list(faults.items())[:_SHOWN]:
        say(f"    at fault: {key}: {text}", "yellow")
    if n_labels > _SHOWN:
        say(f"    ... {n_labels} images with labels at fault in all", "yellow")
    return n_unsound < len(looked_at) or not looked_at


def _check_renders(catalog: Catalog, card: DatasetCard, root: Path, split: str) -> None:
    """Render what is missing of an embedded set and compare it with the manifest shipped with the package.

    Raises:
        VerificationFailed: this machine draws something else.
    """
    from sapiens_bench.adapters.prepare import prepare_data as make
    from sapiens_bench.adapters.synthetic.humans import SyntheticHumans
    from sapiens_bench.engine.provenance import cores

    adapter = open_adapter(catalog, card, next(iter(card.protocols)), None, split)
    if not isinstance(adapter, SyntheticHumans):
        return
    make(adapter, cores())
    found = adapter.verify_manifest()
    for difference in found.differences[:20]:
        say(f"  {difference.verdict} {difference.key}: {'; '.join(difference.reasons)}", "yellow")
    if found.verdict == "different":
        raise VerificationFailed(
            f"{card.id}: the images under {root} are not those of the shipped manifest. If an older version made them, "
            "delete that folder and check again; if they are new, this machine computes differently: please report it."
        )
    say(f"  {found.n_equal} images equal to the shipped manifest, {len(found.differences)} within tolerance")


def open_adapter(
    catalog: Catalog, card: DatasetCard, protocol: str, data_root: Path | None, split: str, select: str = ""
) -> Adapter:
    """A data set under one protocol; ``select`` keeps some of its samples.

    Raises:
        UnknownName: it has no such protocol. DataMissing, DatasetRejected: its files are absent or malformed.
        UsageError: it holds no image.
    """
    from sapiens_bench.engine.data_specs import open_named
    from sapiens_bench.engine.request import Request

    if protocol not in card.protocols:
        raise UnknownName(f"protocol of {card.id}", protocol, card.protocols)
    request = Request(task=card.protocols[protocol].task, data_root=data_root, split=split, select=select)
    return open_named(card, protocol, request.data(), catalog).open.adapter
