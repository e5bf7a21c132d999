"""The losses of a training as a picture, and in TensorBoard's format where that is installed."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from sapiens_bench.store.files import write_atomic


def read_log(path: Path) -> list[dict[str, Any]]:
    """Lines of ``log.csv``; numbers as numbers."""
    with open(path, newline="", encoding="utf-8") as file:
        return [{k: v if k == "split" else float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


def plot_losses(logs: dict[str, Path], out: Path) -> Path:
    """One panel: training losses as thin lines, validation losses as points; a colour a training. PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for number, (name, path) in enumerate(logs.items()):
        lines = read_log(path)
        train = [(line["step"], line["loss"]) for line in lines if line["split"] == "train"]
        held = [(line["step"], line["loss"]) for line in lines if line["split"] == "validation"]
        colour = f"C{number % 10}"
        if train:
            axes.plot(*zip(*train, strict=True), color=colour, linewidth=0.8, label=f"{name}, fitted")
        axes.plot(*zip(*held, strict=True), color=colour, marker="o", linestyle=":", label=f"{name}, held back")
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.set_yscale("log")
    axes.legend(fontsize=8)
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110, metadata={"Software": None})
    pyplot.close(figure)
    return write_atomic(out, data.getvalue())


def write_tensorboard(log: Path, folder: Path) -> bool:
    """The log as TensorBoard events; False where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return False
    writer: Any = SummaryWriter(log_dir=str(folder))
    for line in read_log(log):
        for name, value in line.items():
            if name not in ("step", "split"):
                writer.add_scalar(f"{line['split']}/{name}", value, int(line["step"]))
    writer.close()
    return True
