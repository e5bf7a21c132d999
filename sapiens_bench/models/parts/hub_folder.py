"""Model folders of the transformers library, opened offline: safetensors only, no code of the folder, nothing random.

A folder holds ``config.json`` and ``model.safetensors`` (or its shards). The configuration is somebody else's text: it
may name code or files elsewhere, or a network of any size, so it is looked through before the library acts on it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from torch import nn

from sapiens_bench.errors import CardError, CheckpointRejected
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.parts.checkpoints import is_finite
from sapiens_bench.models.parts.hub_config import check_code, check_parameters, check_sizes, stored_sizes
from sapiens_bench.models.parts.precision import DTYPES
from sapiens_bench.models.parts.weight_file import weights_path

KINDS_OF_FAULT = ("missing_keys", "unexpected_keys", "mismatched_keys")


def read_config(folder: Path) -> dict[str, Any]:
    """``config.json`` of a model folder.

    Raises:
        CheckpointRejected: no folder, no such file, or not JSON.
    """
    path = folder / "config.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointRejected(f"{path} cannot be read ({error}). A transformers folder was expected.") from None
    if not isinstance(content, dict):
        raise CheckpointRejected(f"{path} holds no configuration.")
    return content


def transformers_class(name: str) -> Any:
    """A class of the installed transformers. Raises CardError when it is too old to have it."""
    import transformers

    found = getattr(transformers, name, None)
    if found is None:
        raise CardError(f"transformers {transformers.__version__} has no {name}. Install a newer one.")
    return found


def open_folder(context: ModelContext, classes: Mapping[str, str], unused: tuple[str, ...] = ()) -> nn.Module:
    """The network of ``context``'s folder on its device, in its precision, for inference; see ``open_network``.

    Raises:
        WeightsMissing: the context has no folder.
    """
    net = open_network(weights_path(context), classes, context.variant.id, ignored(context), unused)
    return net.to(device=context.device, dtype=DTYPES[context.precision]).eval()


def ignored(context: ModelContext) -> tuple[str, ...]:
    """Names that the card lets be left over."""
    return context.variant.weights.ignore_keys if context.variant.weights else ()


def open_network(
    folder: Path,
    classes: Mapping[str, str],
    name: str,
    allowed: tuple[str, ...] = (),
    unused: tuple[str, ...] = (),
) -> nn.Module:
    """The network of a folder, float32, on the CPU.

    Args:
        classes: ``model_type`` of config.json -> class of transformers.
        name: whose folder it should be, for messages.
        allowed: exact names that may be missing or left over.
        unused: beginnings of names that the class has and never computes with; they may be absent.

    Raises:
        CheckpointRejected: another kind of model, damaged, of impossible size, or not every tensor fits.
        UntrustedCheckpoint: the configuration asks for code that is not part of the library.
    """
    config = read_config(folder)
    check_code(config, folder)
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in classes:
        raise CheckpointRejected(
            f"{folder} is a {kind!r} model; {name} needs {' or '.join(map(repr, classes))}. Put the right folder there."
        )
    stored = stored_sizes(folder)
    check_sizes(config, folder, stored)
    cls = transformers_class(classes[kind])
    # safetensors only: a pickle beside it is never opened; code in the folder is never run
    options = {"local_files_only": True, "use_safetensors": True}
    with _quiet():
        check_parameters(cls, folder, stored)
    return load(cls, str(folder), folder, allowed, options, unused)


def _other_weights(folder: Path) -> str:
    """What to do with a folder whose weights are in another format only."""
    if not folder.is_dir() or any(folder.glob("*.safetensors")):
        return ""
    kinds = ("*.bin", "*.h5", "*.msgpack", "*.ckpt", "*.pth")
    others = sorted(path.name for kind in kinds for path in folder.glob(kind))
    if not others:
        return " Weights are read from *.safetensors; the folder has none."
    return (
        f" Weights are read from *.safetensors; {others[0]} may run code when it is opened. Convert it where you trust "
        "it: load the model with the library it comes from and save_pretrained(FOLDER, safe_serialization=True)."
    )


def load(
    cls: Any,
    source: str | None,
    path: Path,
    allowed: tuple[str, ...],
    options: Mapping[str, Any],
    unused: tuple[str, ...] = (),
) -> nn.Module:
    """``cls.from_pretrained(source)`` in float32, refused unless every tensor has its place and is finite.

    Raises:
        CheckpointRejected
    """
    try:
        with _quiet():
            # Shapes that do not fit are asked for, too, so that the message below can name them.
            strict = {"output_loading_info": True, "ignore_mismatched_sizes": True}
            net, info = cls.from_pretrained(source, **strict, **options)
    except Exception as error:  # a malformed configuration may make the library fail in any way
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        way_out = _other_weights(path)
        raise CheckpointRejected(f"{path} cannot be loaded as {cls.__name__} ({reason[:200]}).{way_out}") from None
    faults = []
    for kind in KINDS_OF_FAULT:
        names = sorted(str(name) for name in info.get(kind) or () if name not in allowed)
        if kind == "missing_keys":
            names = [name for name in names if not name.startswith(unused)]
        if names:
            faults.append(f"{len(names)} {kind.replace('_', ' ')} ({', '.join(names[:3])})")
    if faults:
        raise CheckpointRejected(f"{path} does not fit {cls.__name__}: {'; '.join(faults)}.")
    network = cast("nn.Module", net).float()
    if spoilt := [name for name, tensor in network.state_dict().items() if not is_finite(tensor)]:
        raise CheckpointRejected(f"{path} has NaN or infinite weights in {spoilt[0]}. Fetch it again.")
    network.requires_grad_(False)
    return network


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar and no report of the library: what it would say is checked and said by ``load``."""
    from transformers.utils import logging

    library: Any = logging
    had_bar, level = library.is_progress_bar_enabled(), library.get_verbosity()
    library.disable_progress_bar()
    library.set_verbosity_error()
    try:
        yield
    finally:
        library.set_verbosity(level)
        if had_bar:
            library.enable_progress_bar()
