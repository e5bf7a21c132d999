"""What a folder of the hub's library says of the model in it: ``config.json`` and ``preprocessor_config.json``.

One table says which kinds of network are run, by which wrapper and for which tasks; others are refused with that list.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.guess_space import guessed_space
from sapiens_bench.cards.schema import MAX_INPUT_SIDE
from sapiens_bench.engine.own_facts import Found, Named, Unsaid, ask, input_spec, meaning, refuse_output, refuse_space
from sapiens_bench.engine.request import OwnModel
from sapiens_bench.errors import CheckpointRejected, DataError, UsageError
from sapiens_bench.pixels import strict_json


@dataclass(frozen=True)
class HubKind:
    """A ``model_type`` that is run."""

    wrapper: str
    classes: Mapping[str, tuple[str, ...]]  # class of the library that saved it -> tasks that it is for
    options: Mapping[str, str] = field(default_factory=dict)  # what the kind of network alone settles
    space: str = ""  # its set, where it never names one


HUB_KINDS: dict[str, HubKind] = {
    "depth_anything": HubKind("depth_anything", {"DepthAnythingForDepthEstimation": ("depth",)}),
    "depth_pro": HubKind("depth_pro", {"DepthProForDepthEstimation": ("depth",)}, {"depth_kind": "metric_depth"}),
    "dpt": HubKind("depth_anything", {"DPTForDepthEstimation": ("depth",)}),  # MiDaS' are inverse, NYU's are metric
    "mask2former": HubKind("mask2former", {"Mask2FormerForUniversalSegmentation": ("seg",)}),
    "sam": HubKind("sam", {"SamModel": ("seg",)}, space="person2"),
    "sapiens2": HubKind(
        "sapiens2",
        {
            "Sapiens2ForPoseEstimation": ("pose",),
            "Sapiens2ForSemanticSegmentation": ("seg",),
            "Sapiens2ForNormalEstimation": ("normal",),
            "Sapiens2ForPointmapEstimation": ("pointmap", "depth"),
            "Sapiens2ForImageMatting": ("matting",),
        },
    ),
    "segformer": HubKind("segformer", {"SegformerForSemanticSegmentation": ("seg",)}),
    "vitpose": HubKind("vitpose", {"VitPoseForPoseEstimation": ("pose",)}),
    "zoedepth": HubKind("zoedepth", {"ZoeDepthForDepthEstimation": ("depth",)}, {"depth_kind": "metric_depth"}),
}
_NO_NAME = re.compile(r"LABEL_\d+")  # what the library writes where nobody gave names
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")


def of_hub(model: Named, task: str, said: OwnModel, catalog: Catalog) -> Found:
    """A folder as the hub's library saves it.

    Raises:
        CheckpointRejected: no kind of network that is run. UsageError: another task's, or something is not said.
    """
    config = _json(model.path / "config.json")
    kind = _kind(model, config)
    _check_task(model, task, kind, config)
    spec = input_spec(model, *_said_of_pixels(model, said, config))
    options = dict(kind.options)
    if task == "depth" and not options:
        options = _depth_meaning(model, said, config)
    elif said.output and said.output not in options.values():
        settled = f" ({', '.join(options.values())})" if options else ""
        refuse_output(model, said, f"its config.json settles what a {config['model_type']} answers with{settled}")
    if task not in ("pose", "seg"):
        refuse_space(model, task, said)
        return Found(kind.wrapper, None, spec, options, "hf")
    return Found(kind.wrapper, _space(model, task, said, kind, config, catalog), spec, options, "hf")


def _kind(model: Named, config: Mapping[str, Any]) -> HubKind:
    name = str(config.get("model_type", ""))
    if name not in HUB_KINDS:
        raise CheckpointRejected(
            f"{model.text}: config.json says model_type {name!r}; known are {', '.join(HUB_KINDS)}. Export the "
            "network to ONNX, or name a class that builds it (CODE.py:CLASS)."
        )
    return HUB_KINDS[name]


def _check_task(model: Named, task: str, kind: HubKind, config: Mapping[str, Any]) -> None:
    """The class that saved the folder is for the task; of a folder that names none, the kind of network is."""
    known = sorted({t for tasks in kind.classes.values() for t in tasks})
    named = config.get("architectures")
    if isinstance(named, list) and named:
        if str(named[0]) not in kind.classes:
            raise CheckpointRejected(
                f"{model.text}: config.json says {str(named[0])!r:.80}; of {config['model_type']} networks "
                f"{', '.join(kind.classes)} is run."
            )
        known = list(kind.classes[named[0]])
    if task not in known:
        its_own = (
            " The library has no albedo class: the authors' own files have cards (`list models --task albedo`)."
            if (config["model_type"], task) == ("sapiens2", "albedo")
            else ""
        )
        raise UsageError(
            f"{model.text}: a {config['model_type']} network is for --task {' or '.join(known)}, not {task}.{its_own}"
        )


def _depth_meaning(model: Named, said: OwnModel, config: Mapping[str, Any]) -> dict[str, Any]:
    """Depth Anything says whether it is metric, and is inverse depth otherwise; Sapiens2's is the z of points."""
    if said.output or "depth_kind" in model.options:
        return meaning(model, "depth", said)
    if config["model_type"] == "sapiens2":
        return {"depth_kind": "scale_invariant_depth"}
    if config["model_type"] == "depth_anything":
        is_metric = config.get("depth_estimation_type", "relative") == "metric"
        return {"depth_kind": "metric_depth" if is_metric else "affine_invariant_inverse_depth"}
    return meaning(model, "depth", said)


def _said_of_pixels(model: Named, said: OwnModel, config: Mapping[str, Any]) -> tuple[OwnModel, tuple[int | None, ...]]:
    """What the user said with the folder's normalisation behind it, and the folder's input size, where it has them."""
    prepare = _processor(model.path)
    mean, std = _three(prepare.get("image_mean")), _three(prepare.get("image_std"))
    if not said.normalise and prepare.get("do_rescale", True) and prepare.get("rescale_factor", 1 / 255) == 1 / 255:
        if prepare.get("do_normalize") is False:
            said = said._replace(normalise="0..1")
        elif mean and std:
            said = said._replace(normalise=",".join(repr(255 * x) for x in (*mean, *std)))
    return said, () if said.input else _size(config, prepare)


def _size(config: Mapping[str, Any], prepare: Mapping[str, Any]) -> tuple[int | None, ...]:
    if config["model_type"] == "sam":  # the longer side is brought to the network's square
        vision = config.get("vision_config")
        side = vision.get("image_size", 1024) if isinstance(vision, dict) else 1024
        return (side, side) if _is_side(side) else ()
    size = prepare.get("size")
    hw = (size.get("height"), size.get("width")) if isinstance(size, dict) else (size, size)
    return hw if all(map(_is_side, hw)) else ()


def _is_side(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_INPUT_SIDE


def _processor(folder: Path) -> dict[str, Any]:
    """How the folder's pictures are prepared, {} where it does not say; newer files have it under a key of its own."""
    path = next((folder / name for name in _PROCESSORS if (folder / name).is_file()), None)
    content = {} if path is None else _json(path)
    inner = content.get("image_processor")
    return inner if isinstance(inner, dict) else content


def _space(model: Named, task: str, said: OwnModel, kind: HubKind, config: Mapping[str, Any], catalog: Catalog) -> str:
    if said.space or kind.space:
        return catalog.space(said.space or kind.space).id
    names = _labels(config)
    if task == "pose":
        n_points = config.get("num_labels")
        n_points = n_points if isinstance(n_points, int) and n_points > 0 else len(names) or 17
        return guessed_space(n_points, names, catalog.spaces, model.text).id
    plain = [_plain(name) for name in names]
    for space in catalog.spaces.values():
        if space.kind == "labels" and [_plain(name) for name in space.names] == plain:
            return space.id
    told = f" ({', '.join(names[:3])}, ...)" if names else ""
    raise ask(model, Unsaid(f"its label set{told}", "--space NAME (`sapiens-bench list spaces`)"))


def _labels(config: Mapping[str, Any]) -> list[str]:
    found = config.get("id2label")
    if not isinstance(found, dict):
        return []
    try:
        names = [str(found[key]) for key in sorted(found, key=int)]
    except ValueError:
        return []
    return [] if all(_NO_NAME.fullmatch(name) for name in names) else names


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _three(value: Any) -> list[float]:
    is_sound = isinstance(value, list) and len(value) == 3 and all(isinstance(x, int | float) for x in value)
    return [float(x) for x in value] if is_sound else []


def _json(path: Path) -> dict[str, Any]:
    try:
        content = strict_json.parse(strict_json.read_bytes(path), path)
    except DataError as error:
        raise CheckpointRejected(strict_json.in_one_line(error, "Save or fetch the folder again.")) from None
    if not isinstance(content, dict):
        raise CheckpointRejected(f"{path} holds no object.")
    return content
