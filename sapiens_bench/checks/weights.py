"""What a weight file is, whether it is what its card says, and the same weights as safetensors with a hash."""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sapiens_bench.cards.catalog import Catalog, ModelEntry
from sapiens_bench.cards.code import code_hash
from sapiens_bench.cards.locate import WeightFiles, file_sha256, weight_files
from sapiens_bench.engine.build import build_model
from sapiens_bench.engine.model_specs import space_of
from sapiens_bench.engine.specs import ModelSpec
from sapiens_bench.errors import (
    CheckpointRejected,
    DeviceError,
    SapiensBenchError,
    StorageFull,
    UntrustedCheckpoint,
    UsageError,
    WeightsMissing,
)

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class WeightReport:
    """What was found in a file."""

    path: Path
    kind: str  # safetensors, pth, pth-legacy, torchscript, export; "folder" or "other" for what other wrappers read
    sha256: str
    size_bytes: int
    what: str  # in words, e.g. "a Sapiens v1 1b 308-keypoint pose checkpoint"
    n_tensors: int = 0
    n_values: int = 0
    dtypes: dict[str, int] = field(default_factory=dict)  # name -> values
    is_finite: bool | None = None  # None: not looked at
    faults: tuple[str, ...] = ()  # why it cannot be used, or is not what the card says
    carries_code: bool = False  # a fault is that opening it could run code nobody vouched for


def inspect_file(path: Path, *, trusted: bool = False) -> WeightReport:
    """Open a weight file without running anything of it and say what it is; never raises for what the file holds.

    Args:
        trusted: the user vouched for the file: an archive with code is opened too.

    Raises:
        WeightsMissing: no such file.
    """
    from sapiens_bench.models.parts.checkpoints import is_finite, sniff

    if not path.is_file():
        raise WeightsMissing(f"{path} is not a file.")
    about: dict[str, Any] = {"path": path, "sha256": file_sha256(path), "size_bytes": path.stat().st_size}
    kind = "other"
    try:
        kind = sniff(path)
        state = read_state(path, trusted=trusted)
    except UntrustedCheckpoint as error:
        is_program = kind in ("torchscript", "export")
        what = f"a {kind} archive, which carries code" if is_program else "a checkpoint that wants more than tensors"
        return WeightReport(kind=kind, what=what, faults=(str(error),), carries_code=True, **about)
    except CheckpointRejected as error:
        return WeightReport(kind=kind, what="no weight file that can be used", faults=(str(error),), **about)
    spoilt = [name for name, tensor in state.items() if not is_finite(tensor)]
    dtypes: Counter[str] = Counter()
    for tensor in state.values():
        dtypes[str(tensor.dtype).removeprefix("torch.")] += tensor.numel()
    return WeightReport(
        kind=kind,
        what=_in_words(state, path),
        n_tensors=len(state),
        n_values=sum(dtypes.values()),
        dtypes=dict(dtypes),
        is_finite=not spoilt,
        faults=(f"{len(spoilt)} tensors hold NaN or infinity, the first is {spoilt[0]}",) if spoilt else (),
        **about,
    )


def read_state(path: Path, *, trusted: bool = False) -> dict[str, Tensor]:
    """Tensors by name, of state-dict files and, where the user vouched for it, of archives with code.

    Raises:
        CheckpointRejected, UntrustedCheckpoint: see ``checkpoints.open_state`` and ``checkpoints.open_program``.
    """
    from sapiens_bench.models.parts.checkpoints import open_program, open_state, sniff

    kind = sniff(path)
    if kind in ("torchscript", "export"):
        return dict(open_program(path, kind, trusted).state_dict())
    return open_state(path, trusted=trusted).state


def _in_words(state: Mapping[str, Tensor], path: Path) -> str:
    from sapiens_bench.models.sapiens_load import describe

    try:
        return str(describe(state, path))
    except CheckpointRejected:
        some = ", ".join(list(state)[:3])
        return f"{len(state)} tensors of no layout that is known by name ({some} ...)"


def check_entry(
    entry: ModelEntry, catalog: Catalog, weights_root: Path | None = None, trust: Mapping[str, str] | None = None
) -> WeightReport:
    """Find the file of a model, open it and build the model on the CPU exactly as a run would.

    Raises:
        UsageError: the model needs no weights. WeightsMissing, ChecksumMismatch: see ``locate.weight_files``.
    """
    files = weight_files(entry.variant, weights_root, trust)
    if files.path is None:
        raise UsageError(f"{entry.id} needs no weights.")
    if files.path.is_dir() or entry.card.wrapper not in ("sapiens_v1",):
        kind, size = _plain_facts(files.path)
        report = WeightReport(files.path, kind, files.sha256, size, f"weights of {entry.card.title}")
    else:
        report = inspect_file(files.path, trusted=files.pinned or files.trusted)
    fault = _build_fault(entry, catalog, files)
    if fault is None:
        return report
    carries_code = report.carries_code or isinstance(fault, UntrustedCheckpoint)
    return replace(report, faults=tuple(dict.fromkeys((*report.faults, str(fault)))), carries_code=carries_code)


def _build_fault(entry: ModelEntry, catalog: Catalog, files: WeightFiles) -> SapiensBenchError | None:
    """Why the model cannot be built, or None; a program may come in bf16 only."""
    fault: SapiensBenchError | None = None
    for precision in ("fp32", "bf16"):
        try:
            build_model(_spec(entry, catalog, files, precision), "cpu")
        except DeviceError as error:
            fault = error
        except SapiensBenchError as error:
            return error
        else:
            return None
    return fault


def _spec(entry: ModelEntry, catalog: Catalog, files: WeightFiles, precision: str) -> ModelSpec:
    options = dict(entry.variant.options)
    code = code_hash(entry.card.wrapper, entry.path)
    return ModelSpec(entry, files, space_of(entry, catalog), options, precision, 0, code)


def _plain_facts(path: Path) -> tuple[str, int]:
    if path.is_dir():
        return "folder", sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    return "other", path.stat().st_size


@dataclass(frozen=True)
class Converted:
    """A safetensors file that was written."""

    path: Path
    sha256: str
    size_bytes: int
    source_sha256: str

    def card_snippet(self) -> str:
        """The ``weights:`` lines for a card."""
        return (
            f"weights:\n  file: {self.path.name}\n  format: safetensors\n  sha256: {self.sha256}\n"
            f"  size_bytes: {self.size_bytes}\n"
            f"  get: {{how: Converted from the file with sha256 {self.source_sha256}.}}\n"
        )


def convert(source: Path, target: Path | None = None, *, trusted: bool = False) -> Converted:
    """Write the tensors of a checkpoint, names and number formats unchanged, as safetensors; by rename.

    Args:
        target: the new file; None puts it beside the source with the suffix ``.safetensors``.
        trusted: see ``inspect_file``.

    Raises:
        UsageError: the target exists, or is the source.
        CheckpointRejected, UntrustedCheckpoint: the source cannot be read, or holds values that are not finite.
        StorageFull: the target cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    from sapiens_bench.models.parts.checkpoints import is_finite

    if not source.is_file():
        raise WeightsMissing(f"{source} is not a file.")
    target = target or source.with_suffix(".safetensors")
    if target.exists():
        raise UsageError(f"{target} exists already. Give another --out.")
    source_sha256 = file_sha256(source)
    state = read_state(source, trusted=trusted)
    spoilt = [name for name, tensor in state.items() if not is_finite(tensor)]
    if spoilt:
        raise CheckpointRejected(f"{source} holds NaN or infinity in {spoilt[0]}. Fetch it again.")
    part = target.with_name(f".tmp-{uuid.uuid4().hex}")
    try:
        # contiguous and not shared, as the format asks for
        plain = {name: tensor.detach().clone().contiguous() for name, tensor in state.items()}
        save_file(plain, part, metadata={"format": "pt", "source_sha256": source_sha256})
        os.replace(part, target)
    except (OSError, SafetensorError) as error:  # which of them a full disk gives is the library's choice
        raise StorageFull(f"{target} could not be written: {getattr(error, 'strerror', None) or error}.") from None
    finally:
        part.unlink(missing_ok=True)
    return Converted(target, file_sha256(target), target.stat().st_size, source_sha256)
