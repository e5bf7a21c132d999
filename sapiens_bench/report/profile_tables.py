"""Profile record -> tables of text: Table 2 of Sapiens beside the truth, counts, latency, stages, memory, floors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sapiens_bench.profiling.record import ProfileRecord, ProfileRow
from sapiens_bench.report.numbers import UNDEFINED
from sapiens_bench.report.sheet import Document, Sheet

_HERE = "here"


TITLE = "What the models cost"


def document(record: ProfileRecord) -> Document:
    """All tables of a profile; as JSON, the record itself."""
    data: dict[str, Any] = record.model_dump(mode="json", by_alias=True)
    return Document(TITLE, tuple(sheets(record)), facts(record), data=data)


def sheets(record: ProfileRecord) -> list[Sheet]:
    """Every table that the record has something for, in reading order."""
    found = [paper_sheet(record.rows), counts_sheet(record.rows), modules_sheet(record.rows), latency_sheet(record)]
    found += [stages_sheet(record.rows), memory_sheet(record.rows), floors_sheet(record), ceilings_sheet(record)]
    found.append(missing_sheet(record.rows))
    return [sheet for sheet in found if sheet is not None]


def facts(record: ProfileRecord) -> dict[str, str]:
    """Command, version, machine."""
    hardware = record.hardware
    gpus = hardware.get("gpus")
    machine = ", ".join(
        str(part)
        for part in (hardware.get("cpu"), f"{hardware.get('cores')} cores", f"{hardware.get('ram_gb')} GB", gpus)
        if part
    )
    torch = record.packages.get("torch", "")
    pairs = {"command": record.command, "version": record.version, "finished": record.finished, "machine": machine,
             "torch": torch, "device": str(hardware.get("device", ""))}  # fmt: skip
    return {name: value for name, value in pairs.items() if value}


def _once(rows: Sequence[ProfileRow]) -> list[ProfileRow]:
    """One row per model: counts do not depend on precision and batch."""
    return list({row.model: row for row in reversed([r for r in rows if r.counts])}.values())[::-1]


def paper_sheet(rows: Sequence[ProfileRow]) -> Sheet | None:
    """Sapiens, Table 2, to every printed digit, and what it leaves out."""
    papers = {row.paper.size: row.paper for row in rows if row.paper}
    if not papers:
        return None
    lines = [
        (
            f"Sapiens-{p.size.upper()}", f"{p.printed_params_b:.3f}", f"{p.params_b:.3f}", f"{p.printed_tflops:.3f}",
            f"{p.tflops:.3f}", f"{p.true_macs_t:.3f}", f"{p.true_tflops:.3f}", f"{p.true_tflops / p.tflops:.2f}x",
        )
        for p in sorted(papers.values(), key=lambda p: p.params_b)
    ]  # fmt: skip
    return Sheet(
        "Sapiens, Table 2: the encoder at 1024 x 1024",
        ("Model", "Params B printed", "recomputed", "\"TFLOPs\" printed", "recomputed", "true TMAC", "true TFLOPs",
         "true / printed"),
        tuple(lines),
        notes=(
            "Printed parameters are those of the whole masked autoencoder, its decoder included.",
            "Printed FLOPs are MACs of linear and convolution layers plus 5 per normalised value; products inside "
            "attention are left out. True FLOPs are two per MAC, attention included, same 4097 tokens.",
        ),
    )  # fmt: skip


def counts_sheet(rows: Sequence[ProfileRow]) -> Sheet | None:
    """Parameters and operations per crop, at the model's own input size."""
    lines = []
    for row in _once(rows):
        c = row.counts
        assert c is not None
        lines.append((
            row.title, row.task, _size(c.input_hw), _millions(c.params_encoder), _millions(c.params_head),
            _millions(c.params_total), f"{c.macs_linear / 1e9:.4g}", f"{c.macs_total / 1e9:.4g}",
            f"{c.flops / 1e9:.4g}", _giga(c.macs_encoder), _giga(c.macs_head), f"{c.passes:g}",
            f"{c.flops_per_crop / 1e9:.4g}", f"{c.activations / 1e6:.4g}", c.method,
        ))  # fmt: skip
    if not lines:
        return None
    notes = ["One pass of the network; FLOPs are two per MAC and include attention. A crop may need several passes "
             "(flip test, BlazePose's second look)."]  # fmt: skip
    uncounted = sorted({name for row in _once(rows) if row.counts for name in row.counts.uncounted})
    if uncounted:
        notes.append(f"Present and not counted: {', '.join(uncounted)}.")
    return Sheet(
        "Counts",
        ("Model", "Task", "Input", "Encoder M", "Head M", "Params M", "GMAC linear", "GMAC", "GFLOPs", "of it encoder",
         "of it head", "Passes", "GFLOPs per crop", "Activations M", "From"),
        tuple(lines),
        left=range(3),
        notes=tuple(notes),
    )  # fmt: skip


def modules_sheet(rows: Sequence[ProfileRow]) -> Sheet | None:
    """Where the operations are; networks given as a list of nameless operations are left out."""
    lines = [
        (row.title, row.task, m.name, f"{m.params / 1e6:.3f}", f"{m.macs / 1e9:.4g}", f"{m.share:.1%}")
        for row in _once(rows)
        for m in (row.counts.modules if row.counts else ())
        if "operations." not in m.name
    ]
    if not lines:
        return None
    return Sheet("By module", ("Model", "Task", "Module", "Params M", "GMAC", "Share"), tuple(lines), left=range(3))


def latency_sheet(record: ProfileRecord) -> Sheet | None:
    """The forward pass in steady state."""
    lines = []
    notes: dict[str, None] = {}
    for row in record.rows:
        if row.latency is None:
            continue
        found, forward = row.latency, row.latency.stages.forward
        lines.append((
            row.title, _combination(row), f"{forward.n}", _ms(forward.p50), _ms(forward.p90), _ms(forward.p99),
            f"{forward.noise:.0%}", f"{found.throughput_per_s:.3g}", _ms(found.first_call_s), _ms(found.compile_s),
            f"{found.n_warmup}", _percent(row.percent_of_limit), _joules(row),
        ))  # fmt: skip
        notes.update(dict.fromkeys(f"{row.title}, {_combination(row)}: {note}" for note in row.notes))
    if not lines:
        return None
    return Sheet(
        "Latency of the forward pass, ms per batch",
        ("Model", "Precision, batch", "Calls", "p50", "p90", "p99", "IQR/p50", "Crops/s", "First call", "Compile",
         "Warm-up calls", "% of limit", "J per crop"),
        tuple(lines),
        left=range(2),
        notes=("Every row in a process of its own. % of limit: floor on this device (predicted from its measured "
               "ceilings) over the measured median.", *notes),
    )  # fmt: skip


def stages_sheet(rows: Sequence[ProfileRow]) -> Sheet | None:
    """Where the time of one image goes."""
    lines = []
    for row in rows:
        if row.latency is None:
            continue
        s = row.latency.stages
        lines.append((
            row.title, _combination(row), _ms(s.load_s), _ms(s.prepare.p50),
            _ms(s.upload.p50 if s.upload else math.nan), _ms(s.forward.p50), _ms(s.download.p50), _ms(s.finish.p50),
        ))  # fmt: skip
    if not lines:
        return None
    return Sheet(
        "Stages, median ms (load once; prepare and finish per image; the others per batch)",
        ("Model", "Precision, batch", "Load", "Prepare", "Upload", "Forward", "Download", "Finish"),
        tuple(lines),
        left=range(2),
    )


def memory_sheet(rows: Sequence[ProfileRow]) -> Sheet | None:
    """Predicted and measured peaks."""
    lines = []
    for row in rows:
        m = row.memory
        if m is None:
            continue
        lines.append((
            row.title, _combination(row), _gb(m.predicted_bytes), _gb(m.available_bytes), _gb(m.peak_rss_bytes or None),
            _gb(m.base_rss_bytes or None), _gb(m.peak_allocated_bytes), _gb(m.peak_reserved_bytes),
        ))  # fmt: skip
    if not lines:
        return None
    return Sheet(
        "Memory, GB",
        ("Model", "Precision, batch", "Predicted", "Free before", "Peak RSS", "RSS before loading", "GPU allocated",
         "GPU reserved"),
        tuple(lines),
        left=range(2),
        notes=("Predicted before the model is built: weights, largest live intermediate tensors, and on a CPU the "
               "process itself.",),
    )  # fmt: skip


def floors_sheet(record: ProfileRecord) -> Sheet | None:
    """The least time per batch on known devices. Always a prediction."""
    devices = [name for name in record.ceilings if any(name in row.floors for row in record.rows)]
    unique = {(r.title, _combination(r)): r for r in record.rows if r.floors}
    if not unique:
        return None
    lines = []
    for (title, combination), row in unique.items():
        cells = [_floor_text(row, name) for name in devices]
        lines.append((title, combination, *cells))
    heads = tuple("this device" if name == _HERE else f"floor on {name}" for name in devices)
    return Sheet(
        "Predicted floors, ms per batch: nothing can be faster",
        ("Model", "Precision, batch", *heads),
        tuple(lines),
        left=range(2),
        notes=("max(FLOPs / peak rate, bytes / bandwidth) with weights, inputs and outputs moved once; m: bound by "
               "memory. Predicted, not measured. On NVIDIA GPUs torch lets fp32 convolutions use TF32, so that a "
               "convolutional network may come below the fp32 floor there.",),
    )  # fmt: skip


def ceilings_sheet(record: ProfileRecord) -> Sheet | None:
    """The rates behind the floors and where they come from."""
    if not any(row.floors for row in record.rows):
        return None
    lines = []
    for name, c in record.ceilings.items():
        rates = ", ".join(f"{p} {rate / 1e12:.4g}" for p, rate in c.flops_per_s.items())
        kind = "measured" if c.is_measured else "datasheet"
        lines.append(("here" if name == _HERE else name, c.device, kind, c.source, rates, f"{c.bytes_per_s / 1e9:.4g}"))
    return Sheet("Ceilings", ("Device", "Full name", "Kind", "Source", "TFLOP/s", "GB/s"), tuple(lines), left=range(4))


def missing_sheet(rows: Sequence[ProfileRow]) -> Sheet | None:
    """Rows without numbers, by reason."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for row in rows:
        if row.status in ("refused", "failed", "unavailable"):
            detail = f" ({_combination(row)})" if row.status != "unavailable" else ""
            found.setdefault((row.status, row.how), {})[row.model + detail] = None
    lines = [(status, ", ".join(models), how) for (status, how), models in found.items()]
    return Sheet("Without numbers", ("Status", "Models", "Why"), tuple(lines), range(3)) if lines else None


def _combination(row: ProfileRow) -> str:
    halved = f" (asked {row.batch_asked})" if row.batch_asked != row.batch else ""
    form = f"{', compiled' if row.is_compiled else ''}{', channels last' if row.is_channels_last else ''}"
    return f"{row.precision}, {row.batch}{halved}{form}"


def _floor_text(row: ProfileRow, device: str) -> str:
    floor = row.floors.get(device)
    if floor is None:
        return "no " + row.precision
    return _ms(floor.seconds) + (" m" if floor.bound == "memory" else "")


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.4g}" if math.isfinite(seconds) else UNDEFINED


def _percent(value: float) -> str:
    return f"{value:.0f} %" if math.isfinite(value) else UNDEFINED


def _joules(row: ProfileRow) -> str:
    return f"{row.energy.joules_per_crop:.3g}" if row.energy else UNDEFINED


def _gb(n_bytes: int | None) -> str:
    return UNDEFINED if n_bytes is None else f"{n_bytes / 1e9:.2f}"


def _millions(value: int | None) -> str:
    return UNDEFINED if value is None else f"{value / 1e6:.2f}"


def _giga(macs: int | None) -> str:
    return UNDEFINED if macs is None else f"{2 * macs / 1e9:.4g}"


def _size(hw: tuple[int, int] | None) -> str:
    return f"{hw[0]}x{hw[1]}" if hw else UNDEFINED
