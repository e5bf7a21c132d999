"""Opening weight files that we did not make: told apart by content, never executed, refused with a reason.

``open_state`` reads tensors (safetensors, torch ``.pth`` in both formats) through an allow-list; ``open_program`` runs
TorchScript or torch.export archives, which carry code, and therefore only when their hash is pinned. ``fill`` puts a
state into a network built on the meta device, strictly: shapes first, then every value checked, then assigned without
a copy, so that loading takes the size of the file and not twice that.
"""

from __future__ import annotations

import importlib
import math
import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from sapiens_bench.errors import CheckpointRejected, UntrustedCheckpoint

Kind = Literal["safetensors", "pth", "pth-legacy", "torchscript", "export"]
_ARCHIVES = {"torchscript": "a TorchScript archive", "export": "a torch.export archive"}

# Training frameworks write their own objects beside the weights. Objects of these modules become inert containers;
# nothing of them is imported. Everything else is refused.
FOREIGN_MODULES = (
    "mmengine.",
    "mmcv.",
    "mmpose.",
    "mmseg.",
    "mmpretrain.",
    "mmdet.",
    "engine.",
    "argparse.",
    "pathlib.",
)
GLOBAL_NAME = re.compile(r"GLOBAL ([A-Za-z_][\w.]*)")


class NoTorchFormat(CheckpointRejected):
    """The first bytes are of no format that holds torch weights."""


class ForeignArchive(CheckpointRejected):
    """A sound zip archive without a torch checkpoint in it."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Tensors of a file by name, prefixes ``module.`` stripped, and what else the file said (metadata, inert)."""

    path: Path
    kind: Kind
    state: dict[str, Tensor]
    meta: Any


class Inert:
    """Stands in for a class we do not have: any construction gives an empty ordered dict."""

    def __new__(cls, *_args: object, **_kwargs: object) -> Any:
        return OrderedDict()


def sniff(path: Path) -> Kind:
    """What a weight file is, by its first bytes and, for archives, its member names.

    Raises:
        CheckpointRejected: not a weight file; the message says what it looks like and what to do.
        NoTorchFormat, ForeignArchive: of those, bytes or an archive of another kind.
    """
    try:
        size = path.stat().st_size
        with open(path, "rb") as f:
            head = f.read(512)
    except OSError as error:
        raise CheckpointRejected(f"{path}: cannot be read ({error.strerror}).") from None
    again = "Fetch it again"
    if size == 0:
        raise CheckpointRejected(f"{path} is empty. {again}.")
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointRejected(
            f"{path} is a Git LFS pointer, not the weights. Run `git lfs pull`, or download the file."
        )
    if head.lstrip()[:15].lower().startswith((b"<html", b"<!doctype", b"<?xml")):
        raise CheckpointRejected(f"{path} is a web page, not weights (an error page?). {again}, signed in if need be.")
    if head.startswith(b"PK"):
        return _archive_kind(path, size)
    if len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 100_000_000:
        return "safetensors"
    if head[:1] == b"\x80":
        return "pth-legacy"
    if path.suffix == ".safetensors":
        raise CheckpointRejected(f"{path} is not a safetensors file: its header is damaged or cut off. {again}.")
    raise NoTorchFormat(f"{path} is no weight file that we know (safetensors, torch .pth, TorchScript, torch.export).")


def _archive_kind(path: Path, size: int) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError):
        raise CheckpointRejected(
            f"{path} is cut off or damaged: its archive directory is missing. Fetch it again."
        ) from None
    names = {m.filename.split("/", 1)[-1] for m in members}
    if "archive_format" in names or any(n.startswith("models/") for n in names):
        return "export"
    if "constants.pkl" in names:
        return "torchscript"
    if "data.pkl" in names:
        if any(m.compress_type != zipfile.ZIP_STORED for m in members) or sum(m.file_size for m in members) > size:
            raise CheckpointRejected(f"{path}: members are compressed, which torch.save never does. Not opened.")
        return "pth"
    if any("serialized_exported_program" in n for n in names | {m.filename for m in members}):
        return "export"
    raise ForeignArchive(f"{path} is an archive without a torch checkpoint in it.")


def open_state(path: Path, trusted: bool = False) -> Checkpoint:
    """Read the tensors of a checkpoint, memory-mapped where the format allows.

    Args:
        trusted: the user vouched for the file's sha256. Objects of any class then become inert containers instead of a
            reason to refuse the file; even so nothing of it is run.

    Raises:
        CheckpointRejected: damaged, or not a mapping of names to tensors, or an archive that carries code.
        UntrustedCheckpoint: the pickle asks for anything outside the allow-list.
    """
    kind = sniff(path)
    if kind == "safetensors":
        return Checkpoint(path, kind, _read_safetensors(path), {})
    if kind in ("torchscript", "export"):
        raise CheckpointRejected(
            f"{path} is {_ARCHIVES[kind]}, which carries code besides weights. Give the state-dict file "
            f"(.pth or .safetensors) of this model, or a card with 'format: {kind}' and the file's sha256."
        )
    content = _read_pickle(path, kind == "pth", trusted)
    state, meta = _find_state(path, content)
    return Checkpoint(path, kind, state, meta)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return strip_prefix(load_file(path), "module.")
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointRejected(f"{path} is damaged: {error}. Fetch it again.") from None


def _numpy_globals() -> list[Any]:
    core = importlib.import_module("numpy._core.multiarray" if hasattr(np, "_core") else "numpy.core.multiarray")
    pairs: list[Any] = [np.ndarray, np.dtype]
    pairs += [getattr(np.dtypes, name) for name in np.dtypes.__all__ if name not in ("ObjectDType", "StringDType")]
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        pairs += [(core.scalar, f"{module}.scalar"), (core._reconstruct, f"{module}._reconstruct")]
    return pairs


def _read_pickle(path: Path, mmap: bool, trusted: bool) -> Any:
    allowed = _numpy_globals()
    known: set[str] = set()
    for _ in range(200):  # each round learns one foreign class name; files name a handful
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with torch.serialization.safe_globals(allowed):
                    return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
        except pickle.UnpicklingError as error:
            name = _refused_name(str(error))
            if name and name not in known and (trusted or name.startswith(FOREIGN_MODULES)):
                known.add(name)
                allowed = [*allowed, (_stand_in(name), name)]
                continue
            raise UntrustedCheckpoint(
                f"{path} wants {name or 'objects'} besides tensors; loading it could run code, so it was not loaded. "
                "Ask the publisher for safetensors. --trust-checkpoint PATH:SHA256 reads its tensors and runs nothing."
            ) from None
        except (RuntimeError, EOFError, OSError, ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CheckpointRejected(f"{path} is cut off or damaged ({reason[:160]}). Fetch it again.") from None
    raise UntrustedCheckpoint(f"{path} names more than 200 foreign classes; not loaded.")


def _refused_name(message: str) -> str:
    found = GLOBAL_NAME.search(message)
    return found.group(1).rstrip(".") if found else ""


def _stand_in(name: str) -> type[Inert]:
    return type(name.rsplit(".", 1)[-1], (Inert,), {})


def _find_state(path: Path, content: Any) -> tuple[dict[str, Tensor], Any]:
    meta: Any = {}
    if isinstance(content, Mapping):
        for level in ("state_dict", "model", "model_state_dict"):
            if isinstance(content.get(level), Mapping):
                meta = {k: v for k, v in content.items() if k != level}
                content = content[level]
                break
    if not isinstance(content, Mapping) or not content:
        raise CheckpointRejected(f"{path} holds no weights: a mapping of names to tensors was expected.")
    others = [str(k) for k, v in content.items() if not isinstance(v, Tensor)]
    if others:
        raise CheckpointRejected(f"{path}: {others[0]!r} is not a tensor ({len(others)} such entries).")
    for name, tensor in content.items():
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise CheckpointRejected(
                f"{path}: {name!r} claims {tensor.numel():,} values, of which the file holds "
                f"{tensor.untyped_storage().nbytes() // tensor.element_size():,}. Save it with .contiguous()."
            )
    return strip_prefix({str(k): v for k, v in content.items()}, "module."), meta


def strip_prefix(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Drop a prefix from the names that have it."""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items()}


def only_prefix(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries below a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def fill(
    module: nn.Module, state: Mapping[str, Tensor], path: Path, ignore: Iterable[str] = (), what: str = ""
) -> None:
    """Assign a state to a module built on the meta device; nothing is copied that need not be.

    Args:
        module: built under ``torch.device("meta")``.
        state: names to tensors; float tensors are converted to float32 when stored otherwise.
        ignore: exact names that may be left over.
        what: how to call the network in messages.

    Raises:
        CheckpointRejected: missing, unexpected or mis-shaped names, or values that are not finite.
    """
    left = {name: tensor for name, tensor in state.items() if name not in set(ignore)}
    wanted = module.state_dict()
    missing = [name for name in wanted if name not in left]
    extra = [name for name in left if name not in wanted]
    wrong = [
        f"{n}: {tuple(left[n].shape)}, not {tuple(t.shape)}"
        for n, t in wanted.items()
        if n in left and left[n].shape != t.shape
    ]
    faults = [*_few("missing", missing), *_few("unexpected", extra), *_few("of another shape", wrong)]
    if faults:
        raise CheckpointRejected(f"{path} does not fit {what or 'this network'}: {'; '.join(faults)}.")
    bad = [name for name, tensor in left.items() if not is_finite(tensor)]
    if bad:
        raise CheckpointRejected(f"{path} has NaN or infinite weights: {'; '.join(_few('in', bad))}. Fetch it again.")
    ready = {n: t.float() if t.is_floating_point() else t for n, t in left.items()}
    module.load_state_dict(ready, strict=True, assign=True)
    module.requires_grad_(False)


def _few(label: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return [f"{len(names)} {label} ({', '.join(names[:3])}{more})"]


def is_finite(tensor: Tensor) -> bool:
    """Whether every value is finite. A finite sum says so without a mask in memory; an overflow is looked into."""
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return True
    if math.isfinite(float(tensor.sum())):
        return True
    return bool(torch.isfinite(tensor).all())


def open_program(path: Path, kind: Literal["torchscript", "export"], pinned: bool, device: str = "cpu") -> Any:
    """Load an archive that carries code: TorchScript or a torch.export program.

    Args:
        pinned: the caller has compared the file with a sha256 that the card or the user names.
        device: where the tensors go, and the constants inside an exported program.

    Raises:
        UntrustedCheckpoint: not pinned.
        CheckpointRejected: the archive is of the other kind, or damaged.
    """
    found = sniff(path)
    if found != kind:
        raise CheckpointRejected(f"{path} is of kind {found}, but the card says '{kind}' (both use the suffix .pt2).")
    if not pinned:
        raise UntrustedCheckpoint(
            f"{path} is {_ARCHIVES[kind]} and would run its own code. "
            "Pin its sha256 in the card, vouch for it with --trust-checkpoint PATH:SHA256 (`sapiens-bench weights "
            "check PATH` prints it), or give the state-dict file."
        )
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*torch.jit.*", category=FutureWarning)
            warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
            if kind == "torchscript":
                return torch.jit.load(str(path), map_location=device)  # type: ignore[no-untyped-call]
            program = torch.export.load(path)
            if device != "cpu":
                from torch.export.passes import move_to_device_pass

                program = move_to_device_pass(program, device)
            return program.module()
    except (RuntimeError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointRejected(f"{path} cannot be opened ({reason[:200]}).") from None
