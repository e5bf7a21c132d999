"""What a model's own file says of it, and what the user has to say instead: one function for each kind of file.

Every refusal names the flag that answers it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.guess_space import guessed_space
from sapiens_bench.cards.onnx_shapes import OnnxFacts, OnnxTensor, onnx_facts
from sapiens_bench.cards.schema import InputSpec
from sapiens_bench.engine.request import OwnModel, parse_input
from sapiens_bench.errors import CheckpointRejected, UnknownName, UsageError
from sapiens_bench.tasks.albedo.types import ColourSpace
from sapiens_bench.tasks.depth.types import DepthKind

NORMALISATIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {  # name -> mean, std of 0..255 values
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "0..1": ((0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
    "-1..1": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
OUTPUTS: dict[str, tuple[str, ...]] = {  # task -> what --output may say
    "pose": ("heatmap", "simcc", "coords"),
    "seg": ("logits", "labels"),
    "depth": get_args(DepthKind),
    "matting": ("alpha", "logits"),
    "albedo": get_args(ColourSpace),
}


class Unsaid(NamedTuple):
    """Something that a file does not say."""

    what: str
    flag: str  # that says it


_SIZE = Unsaid("the size of its input", "--input HEIGHTxWIDTH, e.g. --input 256x192")
_UNITS = Unsaid("what its coordinates are counted in", "--option units=pixel (of the crop) or units=share (0..1)")
_PIXELS = Unsaid(
    "how pixels are normalised",
    f"--normalise {', '.join(NORMALISATIONS)}, or six numbers (mean and standard deviation of R, G, B in 0..255)",
)
_MEANING = {"depth": "depth_kind", "matting": "output", "albedo": "colour_space"}  # task -> option that --output sets


@dataclass(frozen=True)
class Named:
    """A model as a request names it."""

    text: str  # as in the request
    kind: str  # onnx, program, code, folder, hub, given
    path: Path  # file or folder; of a hub model its snapshot
    detail: str = ""  # class of code, repository of a hub model, weight format of a program, content of a given network
    options: frozenset[str] = frozenset()  # names of the options that the request sets

    @property
    def shown(self) -> str:
        """Its name in messages: of a network in memory its class, not what stands in for its content."""
        return self.path.name if self.kind == "given" else self.text


class Found(NamedTuple):
    """What a card has to say."""

    wrapper: str
    space: str | None
    input: InputSpec | None
    options: dict[str, Any]
    weights: str | None  # format


def of_onnx(model: Named, task: str, said: OwnModel, catalog: Catalog) -> Found:
    """An ONNX file: shapes and number formats are in it."""
    facts = onnx_facts(model.path)
    picture = _picture(model, facts)
    shape = picture.shape or (None,) * 4
    is_last = shape[3] == 3 and shape[1] != 3
    size = shape[1:3] if is_last else shape[2:4]
    options: dict[str, Any] = {"layout": "NHWC"} if is_last else {}
    if picture.dtype == "uint8" and not said.normalise:
        said = said._replace(normalise="none")
    spec = input_spec(model, said, size)
    outputs = [_turned(out, is_last) for out in facts.outputs]
    if task == "pose" and not said.output and (n_points := _points_of_people(facts.outputs)):
        space = said.space or guessed_space(n_points, (), catalog.spaces, str(model.path)).id
        return Found("one_stage", catalog.space(space).id, spec, {**options, "boxes": "none"}, "onnx")
    if task == "pose":
        output = said.output or _pose_output(model, outputs)
        options["output"] = output
        if output == "coords" and "units" not in model.options:
            raise ask(model, _UNITS)
        return Found("onnx", _pose_space(model, outputs, output, said, catalog), spec, options, "onnx")
    if task == "seg":
        labels = (said.output or _seg_output(outputs)) == "labels"
        options |= {"output": "labels"} if labels else {}
        return Found("onnx", _seg_space(model, [] if labels else outputs, said, catalog), spec, options, "onnx")
    refuse_space(model, task, said)
    return Found("onnx", None, spec, options | meaning(model, task, said), "onnx")


def of_program(model: Named, task: str, said: OwnModel, catalog: Catalog) -> Found:
    """A program says nothing before it is run, and it is not run to be asked."""
    if unsaid := list(_unsaid(model, task, said)):
        raise ask(model, *unsaid)
    spec = input_spec(model, said, ())
    if task not in ("pose", "seg"):
        refuse_space(model, task, said)
        return Found("exported", None, spec, meaning(model, task, said), model.detail)
    if said.output == "labels":
        raise UsageError(f"{model.shown}: --output labels is of ONNX files; torch programs give scores (logits).")
    options: dict[str, Any] = {"output": said.output} if task == "pose" else {}
    return Found("exported", catalog.space(said.space).id, spec, options, model.detail)


def _unsaid(model: Named, task: str, said: OwnModel) -> Iterator[Unsaid]:
    """Everything that has to be said of a network whose file says nothing, at once."""
    if not said.input:
        yield _SIZE
    if not said.normalise:
        yield _PIXELS
    if task == "pose" and not said.output:
        yield Unsaid("what it answers with", "--output heatmap, simcc or coords")
    if task == "pose" and said.output == "coords" and "units" not in model.options:
        yield _UNITS
    if task in _MEANING and not said.output and _MEANING[task] not in model.options:
        yield _numbers(task)
    if task in ("pose", "seg") and not said.space:
        yield _set_of(task)


def of_code(model: Named, task: str, said: OwnModel, catalog: Catalog) -> Found:
    """A class in a file of the user; it answers with finished predictions, and may do without a size of its input.

    Raises:
        UsageError: what it needs is not said, or what is said is of no use to it.
    """
    if said.output:
        refuse_output(model, said, "a class answers in the task's own form (what `finish` returns)")
    if task not in ("pose", "seg"):
        refuse_space(model, task, said)
    space = catalog.space(said.space).id if said.space else None
    if task in ("pose", "seg") and space is None:
        raise ask(model, _set_of(task))
    spec = input_spec(model, said, ()) if said.input or said.normalise else None
    return Found(f"./{model.path.name}:{model.detail}", space, spec, {}, None)


def check_output(task: str, output: str) -> None:
    """What is said of the outputs goes with the task.

    Raises:
        UnknownName: it is misspelt. UsageError: the task's networks have one kind of output only.
    """
    if not output:
        return
    if task not in OUTPUTS:
        raise UsageError(f"--output {output}: networks for {task} answer in one way only; leave it out.")
    if output not in OUTPUTS[task]:
        raise UnknownName("--output", output, OUTPUTS[task])


def meaning(model: Named, task: str, said: OwnModel) -> dict[str, Any]:
    """The option that says what the numbers of a map mean, which no file tells.

    Raises:
        UsageError: nobody said it.
    """
    if task not in _MEANING or _MEANING[task] in model.options:
        return {}
    if not said.output:
        raise ask(model, _numbers(task))
    return {_MEANING[task]: said.output}


# Parts ----------------------------------------------------------------------------------------------------------------


def _picture(model: Named, facts: OnnxFacts) -> OnnxTensor:
    images = [x for x in facts.inputs if x.shape is None or len(x.shape) == 4]
    if len(images) != 1 or len(facts.inputs) != 1:
        given = ", ".join(f"{x.name} {_axes(x)}" for x in facts.inputs) or "none"
        raise CheckpointRejected(
            f"{model.path} has the inputs {given}; one picture [B, 3, H, W] or [B, H, W, 3] is run."
        )
    return images[0]


def input_spec(model: Named, said: OwnModel, size: tuple[int | None, ...]) -> InputSpec:
    """Size and normalisation of the input; the file's own size where it states one."""
    hw = parse_input(said.input) if said.input else None
    fixed = (size[0], size[1]) if len(size) == 2 and None not in size else None
    if hw is not None and fixed is not None and hw != fixed:
        raise UsageError(
            f"{model.path} takes {fixed[0]}x{fixed[1]} pixels (height x width), --input says {said.input}."
        )
    hw = hw or fixed  # type: ignore[assignment]
    if hw is None:
        raise ask(model, _SIZE)
    if not said.normalise:
        raise ask(model, _PIXELS)
    mean, std, order = _normalisation(said.normalise)
    return InputSpec(height=hw[0], width=hw[1], mean=mean, std=std, channel_order=order)


def _normalisation(text: str) -> tuple[Any, Any, Any]:
    name = text.strip().lower()
    order = "rgb"
    for suffix in (",bgr", ",rgb"):
        if name.endswith(suffix):
            name, order = name.removesuffix(suffix), suffix[1:]
    try:
        mean, std = NORMALISATIONS.get(name, ((), ()))
        numbers = [*mean, *std] or [float(part) for part in name.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 6 or not all(abs(x) < 1e6 for x in numbers) or any(x <= 0 for x in numbers[3:]):
        raise UsageError(
            f"--normalise {text}: give {', '.join(NORMALISATIONS)}, or six numbers (mean and standard deviation of R, "
            "G, B in 0..255); ',bgr' behind it for networks that take blue first."
        )
    turn = slice(None, None, -1 if order == "bgr" else 1)  # said for R, G, B; a card has them in the network's order
    return tuple(numbers[:3][turn]), tuple(numbers[3:][turn]), order


def _turned(out: OnnxTensor, is_last: bool) -> OnnxTensor:
    """An output with its channels where [B, C, H, W] has them."""
    if not is_last or out.shape is None or len(out.shape) != 4:
        return out
    b, h, w, c = out.shape
    return OnnxTensor(out.name, (b, c, h, w), out.dtype)


def _points_of_people(outputs: Sequence[OnnxTensor]) -> int:
    """Keypoints of each person of a network that needs no boxes: [1, N, 5] and [1, N, K, 3]; 0 of any other."""
    boxes = [x.shape for x in outputs if x.shape and len(x.shape) == 3 and x.shape[2] == 5]
    people = [x.shape for x in outputs if x.shape and len(x.shape) == 4 and x.shape[3] == 3]
    return int(people[0][2] or 0) if len(boxes) == len(people) == 1 else 0


def _pose_output(model: Named, outputs: list[OnnxTensor]) -> str:
    maps = [x for x in outputs if x.shape and len(x.shape) == 4]
    rows = [x.shape for x in outputs if x.shape and len(x.shape) == 3]
    if len(maps) == 1:
        return "heatmap"
    if len(rows) == 2 and all((shape[2] or 0) > 3 for shape in rows):
        return "simcc"
    if any(shape[2] in (2, 3) for shape in rows):
        return "coords"
    given = ", ".join(f"{x.name} {_axes(x)}" for x in outputs)
    raise ask(model, Unsaid(f"what its outputs are ({given})", "--output heatmap, simcc or coords"))


def _pose_space(model: Named, outputs: list[OnnxTensor], output: str, said: OwnModel, catalog: Catalog) -> str:
    if said.space:
        return catalog.space(said.space).id
    rank = 4 if output == "heatmap" else 3
    counts = {x.shape[1] for x in outputs if x.shape and len(x.shape) == rank and x.shape[1]}
    if len(counts) != 1:
        raise ask(model, Unsaid("its keypoint set", "--space NAME (`sapiens-bench list spaces`)"))
    return guessed_space(int(counts.pop() or 0), (), catalog.spaces, str(model.path)).id


def _seg_output(outputs: list[OnnxTensor]) -> str:
    first = outputs[0]
    is_flat = first.shape is not None and (len(first.shape) == 3 or (len(first.shape) == 4 and first.shape[1] == 1))
    return "labels" if is_flat or "int" in first.dtype else "logits"


def _seg_space(model: Named, outputs: list[OnnxTensor], said: OwnModel, catalog: Catalog) -> str:
    if said.space:
        return catalog.space(said.space).id
    classes = {x.shape[1] for x in outputs if x.shape and len(x.shape) == 4 and x.shape[1]}
    known = [s.id for s in catalog.spaces.values() if s.kind == "labels" and len(s.names) in classes]
    if len(known) == 1:
        return known[0]
    among = f": {', '.join(known)} have so many classes" if known else ""
    raise ask(model, Unsaid("its label set", f"--space NAME (`sapiens-bench list spaces`{among})"))


def refuse_space(model: Named, task: str, said: OwnModel) -> None:
    """Raises UsageError: a set is named for a task that is in none."""
    if said.space:
        raise UsageError(f"{model.text}: {task} is in no set, so --space {said.space} means nothing.")


def refuse_output(model: Named, said: OwnModel, why: str) -> None:
    """Raises UsageError: ``--output`` is said of a model to which it means nothing."""
    raise UsageError(f"{model.text}: {why}, so --output {said.output} means nothing for it; leave it out.")


def ask(model: Named, *unsaid: Unsaid) -> UsageError:
    """The refusal that asks for flags."""
    return UsageError(
        f"{model.shown} does not say {', '.join(each.what for each in unsaid)}. "
        f"Give {'; '.join(each.flag for each in unsaid)}."
    )


def _numbers(task: str) -> Unsaid:
    *some, last = OUTPUTS[task]
    return Unsaid("what its numbers mean", f"--output {', '.join(some)} or {last}")


def _set_of(task: str) -> Unsaid:
    kind = "keypoint set" if task == "pose" else "label set"
    return Unsaid(f"the {kind} of its output", "--space NAME (`sapiens-bench list spaces`)")


def _axes(tensor: OnnxTensor) -> str:
    return (
        "of unknown shape"
        if tensor.shape is None
        else f"[{', '.join('?' if n is None else str(n) for n in tensor.shape)}]"
    )
