"""Names become what the profiler needs: which models are meant, their counts, and, in the child, the model itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sapiens_bench.cards.catalog import Catalog, ModelEntry
from sapiens_bench.cards.entries import without_form
from sapiens_bench.cards.locate import WeightFiles, weight_files
from sapiens_bench.cards.schema import InputSpec, SpaceCard
from sapiens_bench.engine.build import build_model
from sapiens_bench.engine.device import use_full_fp32
from sapiens_bench.engine.model_specs import Candidate, space_of, with_options, with_weights
from sapiens_bench.engine.own_models import named_by_file
from sapiens_bench.engine.specs import ModelSpec
from sapiens_bench.errors import CardError, SapiensBenchError, UnknownName, UsageError, WeightsMissing
from sapiens_bench.profiling.paper import Encoder, mae_parameters, paper_macs, true_macs
from sapiens_bench.profiling.record import CountRecord, PaperRecord
from sapiens_bench.tasks import task_kind
from sapiens_bench.types import ModelInput

if TYPE_CHECKING:
    from sapiens_bench.profiling.subject import Subject

ENCODER = "/encoder"
_NO_WEIGHTS = WeightFiles(None, {}, "", pinned=False)
_PAPER_TABLE = "sapiens1-t2"
_FIXED_SIZE = ("graph", "torchscript", "export", "predictions")  # formats whose networks know one size


@dataclass(frozen=True, slots=True)
class Chosen:
    """A variant, or its encoder alone."""

    candidate: Candidate
    encoder_only: bool
    space: SpaceCard | None  # of the raw output

    @property
    def entry(self) -> ModelEntry:
        return self.candidate.entry

    @property
    def id(self) -> str:
        return self.entry.id + (ENCODER if self.encoder_only else "")

    @property
    def title(self) -> str:
        return self.entry.variant.title + (" (encoder)" if self.encoder_only else "")

    def spec(self, files: WeightFiles, precision: str = "fp32", seed: int = 0) -> ModelSpec:
        """What builds it, with these weights."""
        return with_weights(self.candidate, files, self.space, precision, seed)


def choose(
    catalog: Catalog, patterns: Sequence[str], task: str | None, options: Mapping[str, Any] | None = None
) -> tuple[list[Chosen], list[str]]:
    """Variants by pattern over one task or all, in the order asked; "<pattern>/encoder" for encoders.

    Floors and diagnostics hold no network and are left out unless named exactly.

    Returns:
        What is meant, and notes on options that some of them do not have.

    Raises:
        UnknownName: a pattern that matches nothing, or an option that none of the models has.
        UsageError: no pattern, or only models of another task.
        CardError: an option's value is wrong.
    """
    wanted = parts_of(patterns)
    if not wanted:
        raise UsageError("No model was named. Use --models all, an id, or a pattern such as 'sapiens-*'.")
    if formed := [part for part in wanted if without_form(part.removesuffix(ENCODER))[1]]:
        raise UsageError(
            f"{formed[0]}: name the model alone; profile has --precision, --compile and --channels-last for its form."
        )
    tasks = [task] if task else list(dict.fromkeys(entry.card.task for entry in catalog.models.values()))
    chosen: dict[str, tuple[ModelEntry, bool]] = {}
    for pattern in wanted:
        encoder_only = pattern.endswith(ENCODER)
        name = pattern.removesuffix(ENCODER)
        found = _matching(catalog, tasks, name, explain=task is not None)
        if not found:
            _refuse_file(name)
            raise UnknownName("model", name, catalog.models, "`sapiens-bench list` shows all models.")
        for entry in found:
            if entry.card.kind == "network" or entry.id == name:
                chosen.setdefault(entry.id + (ENCODER if encoder_only else ""), (entry, encoder_only))
    entries = list({entry.id: entry for entry, _ in chosen.values()}.values())
    named = catalog.names([name.removesuffix(ENCODER) for name in wanted])
    asked = with_options(entries, options or {}, named)
    by_id = {candidate.entry.id: candidate for candidate in asked.all}
    found_all = [Chosen(by_id[entry.id], part, space_of(entry, catalog)) for entry, part in chosen.values()]
    return found_all, asked.notes


def parts_of(patterns: Iterable[str]) -> list[str]:
    """The names in texts that are lists of names."""
    return [part.strip() for pattern in patterns for part in pattern.split(",") if part.strip()]


def _refuse_file(name: str) -> None:
    """A profile is of models that have a card.

    Raises:
        WeightsMissing: a file that does not exist. UsageError: one that has no card.
    """
    if named_by_file(name):
        raise UsageError(
            f"{name} has no card, and a profile is of models that have one. Write it (`sapiens-bench card init {name} "
            "--task TASK`), then name the model by its id and give --cards FOLDER."
        )


def _matching(catalog: Catalog, tasks: Sequence[str], pattern: str, explain: bool) -> list[ModelEntry]:
    found: list[ModelEntry] = []
    for task in tasks:
        try:
            found += catalog.select(task, [pattern])
        except UsageError:
            if explain:
                raise
    return found


def resized(chosen: Chosen, input_hw: tuple[int, int] | None) -> Chosen:
    """The variant at another input size; whether the network can is its own affair."""
    if input_hw is None:
        return chosen
    entry = chosen.entry
    spec = entry.variant.input or entry.card.input
    weights = entry.variant.weights
    if spec is None or (weights is not None and weights.format in _FIXED_SIZE):
        raise UsageError(f"{entry.id} has a fixed input size; leave --input out for it.")
    changed = InputSpec(**{**spec.model_dump(), "height": input_hw[0], "width": input_hw[1]})
    entry = replace(entry, variant=entry.variant.model_copy(update={"input": changed}))
    return replace(chosen, candidate=replace(chosen.candidate, entry=entry))


def find_weights(entry: ModelEntry, weights_root: Path | None) -> tuple[WeightFiles, str]:
    """(files, ""), or (no files, why) when they are not on this machine.

    Raises:
        ChecksumMismatch: they are there and have other bytes.
    """
    try:
        return weight_files(entry.variant, weights_root), ""
    except WeightsMissing as error:
        return _NO_WEIGHTS, str(error)


def why_not(candidate: Candidate) -> str:
    """Why a model cannot be profiled at all; empty when it can."""
    entry = candidate.entry
    if entry.card.kind != "network":
        return f"{entry.id} is no network: there is nothing to profile."
    if entry.variant.weights is not None and entry.variant.weights.format == "predictions":
        return "Only published numbers or stored predictions exist for this model: there is no network to profile."
    return str(candidate.refusal or "")


def count_entry(chosen: Chosen, weights_root: Path | None) -> CountRecord:
    """Counts of one variant: on the meta device, from the ONNX graph, or, where neither works, on real tensors.

    Raises:
        WeightsMissing: the count needs the weight file (ONNX) and it is not here.
        SapiensBenchError: the model cannot be built.
    """
    entry = chosen.entry
    spec = entry.variant.input or entry.card.input
    files, missing = find_weights(entry, weights_root)
    if entry.variant.weights is not None and entry.variant.weights.format == "onnx":
        from sapiens_bench.profiling.onnx_graph import count_onnx

        if files.path is None:
            raise WeightsMissing(f"MACs of an ONNX model are read from its file. {missing}")
        record = count_onnx(files.path, {"height": spec.height, "width": spec.width} if spec else {})
        if spec and record.input_hw not in (None, (spec.height, spec.width)):
            raise UsageError(f"{entry.id} has a fixed input size of {record.input_hw}; leave --input out for it.")
        return record
    try:
        # The architecture follows from the card; a large weight file is neither needed nor read. Only graphs, which are
        # data themselves, must come from their file.
        is_graph = entry.variant.weights is not None and entry.variant.weights.format == "graph"
        return _count(chosen, files if is_graph else _NO_WEIGHTS, "meta")
    except (
        NotImplementedError,
        RuntimeError,
        SapiensBenchError,
    ) as error:  # torch of meta tensors, and ours
        if files.path is None and missing:
            why = f"{type(error).__name__}: {_first_line(error)}"
            raise WeightsMissing(f"It cannot be counted without its weights ({why}). {missing}") from error
        if files.path is None:
            raise
        return _count(chosen, files, "cpu")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200].rstrip(".")


def _count(chosen: Chosen, files: WeightFiles, device: str) -> CountRecord:
    import torch

    from sapiens_bench.profiling.counts import count
    from sapiens_bench.profiling.subject import EncoderOnly, network_of

    model = build_model(chosen.spec(files), device)
    if chosen.encoder_only:
        model = EncoderOnly(model, chosen.entry.id)
    network = model.encoder if isinstance(model, EncoderOnly) else network_of(model)
    if network is None:
        raise CardError(f"{chosen.id}: no torch network inside; its operations cannot be counted.")
    arrays = {name: array[:1] for name, array in model.prepare(input_for(chosen.entry)).tensors.items()}
    tensors = {}
    for name, array in arrays.items():
        tensor = torch.from_numpy(array)
        # Small integers are sizes that the forward pass reads; pictures carry no information here.
        tensors[name] = tensor if array.ndim < 3 else tensor.to(device)
    if isinstance(model, EncoderOnly):
        model.forward(tensors)  # catches the encoder's input, so that only the encoder is counted
    n_bytes = sum(array.nbytes for array in arrays.values())
    record = count(lambda: model.forward(tensors), network, 1, n_bytes)
    spec = chosen.entry.variant.input or chosen.entry.card.input
    side = getattr(model, "size", None)
    hw = (spec.height, spec.width) if spec else (side, side) if isinstance(side, int) else None
    return record.model_copy(update={"input_hw": hw})


def input_for(entry: ModelEntry, seed: int = 0) -> ModelInput:
    """The image a model is profiled on: one person box for pose, the whole image for dense tasks."""
    from sapiens_bench.profiling.subject import sample_input, whole_image

    x = sample_input(seed)
    return whole_image(x) if task_kind(entry.card.task).is_whole_image else x


def paper_record(entry: ModelEntry, catalog: Catalog) -> PaperRecord | None:
    """Sapiens, Table 2, recomputed beside the true cost; None for other families."""
    size = str(entry.variant.options.get("size", ""))
    if entry.card.wrapper != "sapiens_v1":
        return None
    from sapiens_bench.models.sapiens_net import SIZES

    if size not in SIZES:
        return None
    width, depth, _ = SIZES[size]
    encoder = Encoder(width, depth)
    printed: dict[str, float] = {}
    if _PAPER_TABLE in catalog.published:
        cells = catalog.published[_PAPER_TABLE][1].rows.get(f"Sapiens-{size.upper()}", {})
        printed = {k: c.value for k, c in cells.items() if c is not None and isinstance(c.value, float | int)}
    macs = true_macs(encoder)
    return PaperRecord(
        size=size,
        params_b=mae_parameters(encoder) / 1e9,
        tflops=paper_macs(encoder) / 1e12,
        printed_params_b=printed.get("params_b", float("nan")),
        printed_tflops=printed.get("tflops", float("nan")),
        true_macs_t=macs / 1e12,
        true_tflops=2 * macs / 1e12,
    )


def child_arguments(
    chosen: Chosen, device: str, precision: str, weights_root: Path | None, seed: int
) -> dict[str, Any]:
    """What ``build_in_child`` is given, as plain JSON values.

    Raises:
        WeightsMissing: the network is read from its weight file, which is not here.
    """
    files, missing = find_weights(chosen.entry, weights_root)
    weights = chosen.entry.variant.weights
    if files.path is None and weights is not None and weights.format in ("graph", "onnx"):
        raise WeightsMissing(missing)
    spec = chosen.spec(files, precision, seed).to_json()
    return {"spec": spec, "encoder_only": chosen.encoder_only, "device": device}


def build_in_child(*, spec: str, encoder_only: bool, device: str) -> tuple[Callable[[], Subject], ModelInput]:
    """What ``profiling.child`` calls: the model is built (and timed) by the function returned."""
    from sapiens_bench.profiling.subject import EncoderOnly, Subject, network_of, randomise

    model = ModelSpec.from_json(spec)
    use_full_fp32(device)

    def build() -> Subject:
        wrapper = build_model(model, device)
        network = network_of(wrapper)
        random = False
        if network is not None and any(p.is_meta for p in network.parameters()):
            from sapiens_bench.models.parts.precision import DTYPES

            network.to(DTYPES[model.precision])
            randomise(network, device, model.seed)
            random = True
        kind = "random" if random else "card"
        if encoder_only:
            part = EncoderOnly(wrapper, model.id)
            return Subject(part, part.encoder, kind)
        return Subject(wrapper, network, kind)

    return build, input_for(model.entry, model.seed)
