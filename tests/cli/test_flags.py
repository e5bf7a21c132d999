"""The whole list of flags: a new one is a decision, so this list is changed by hand."""

from __future__ import annotations

import typer.main
from typer.testing import CliRunner

from sapiens_bench.cli import app

STUDY = [
    "--address", "--batch-size", "--cards", "--data-option", "--data-root", "--dataset", "--device", "--engine",
    "--format", "--gpus-per-worker", "--limit", "--models", "--n-boot", "--option", "--out", "--precision",
    "--protocol", "--score", "--scoring", "--seed", "--select", "--split", "--task", "--threads",
    "--trust-checkpoint", "--weights-root", "--workers",
]  # fmt: skip
FLAGS = {
    "": ["--debug", "--install-completion", "--show-completion", "--version"],
    "box-study": ["--format", "--out"],
    "card init": ["--cards", "--input", "--normalise", "--option", "--out", "--output", "--space", "--task"],
    "compare": [
        "--by", "--correction", "--data-root", "--device", "--drift", "--format", "--models", "--n-boot",
        "--out", "--scores", "--seed", "--weights-root",
    ],
    "data check": ["--cards", "--data-root", "--select", "--split"],
    "data export": ["--cards", "--data-root", "--limit", "--out", "--protocol", "--split", "--task"],
    "data path": ["--cards", "--data-root"],
    "data prepare": [
        "--address", "--cards", "--data-root", "--engine", "--limit", "--protocol", "--root", "--split",
        "--workers",
    ],
    "data show": ["--cards", "--data-root"],
    "errors": ["--format", "--out"],
    "explain-number": [
        "--boxes", "--cards", "--data-root", "--format", "--model", "--n-boot", "--out", "--published",
        "--rerun-model", "--weights-root",
    ],
    "export": ["--as", "--cards", "--data-root", "--models", "--out", "--with-pictures"],
    "gate": [
        "--benchmark", "--format", "--json", "--junit", "--markdown", "--models", "--require-equal",
        "--spec", "--speed-base", "--speed-cand", "--write-baseline",
    ],
    "list": ["--cards", "--data-root", "--json", "--task", "--weights-root"],
    "merge": ["--cards", "--data-root", "--format", "--out", "--weights-root"],
    "pareto": ["--cards", "--format", "--out", "--plots"],
    "probe": [
        "--address", "--arch", "--backbone", "--backbone-weights", "--batch-size", "--cards",
        "--checkpoint-every", "--class-weights", "--clip", "--data-root", "--decay", "--depth-loss",
        "--device", "--engine", "--epochs", "--eval", "--finetune", "--format", "--gpus",
        "--gpus-per-worker", "--head", "--input", "--lr", "--max-seconds", "--name", "--no-stem", "--out",
        "--pose-loss", "--precision", "--seeds", "--start-from", "--stem", "--steps", "--task", "--threads",
        "--train", "--train-limit", "--validation", "--views", "--warm-up", "--weight-decay", "--width",
        "--workers",
    ],
    "profile": [
        "--batch", "--cards", "--channels-last", "--compile", "--counts", "--device", "--format", "--input",
        "--models", "--option", "--out", "--precision", "--rounds", "--seconds", "--task", "--threads",
        "--weights-root",
    ],
    "report": [
        "--box-study", "--cards", "--data-root", "--format", "--out", "--pareto", "--published", "--strict",
        "--table", "--with-pictures",
    ],
    "rerun": ["--data-root", "--device", "--format", "--out", "--weights-root"],
    "run": [
        "--address", "--batch-size", "--boxes", "--cards", "--config", "--data-option", "--data-root",
        "--dataset", "--device", "--dry-run", "--engine", "--format", "--gpus", "--gpus-per-worker",
        "--input", "--limit", "--max-errors", "--max-pixels", "--models", "--n-boot", "--no-save-preds",
        "--normalise", "--option", "--out", "--output", "--pipeline", "--precision", "--prefetch",
        "--price-per-hour", "--protocol", "--save-maps", "--save-preds", "--scoring", "--seed", "--select",
        "--shard", "--shard-size", "--space", "--split", "--strict", "--task", "--threads",
        "--trust-checkpoint", "--weights-root", "--workers",
    ],
    "score": [
        "--cards", "--data-option", "--format", "--limit", "--max-errors", "--max-pixels", "--n-boot",
        "--nms", "--option", "--out", "--protocol", "--resize", "--scoring", "--seed", "--select",
        "--space", "--task", "--truth",
    ],
    "site": ["--cards", "--out"],
    "study boxes": [
        "--address", "--batch-size", "--beside", "--boxes", "--cards", "--data-option", "--data-root",
        "--dataset", "--device", "--engine", "--format", "--gpus-per-worker", "--limit", "--models",
        "--n-boot", "--option", "--out", "--precision", "--protocol", "--save-maps", "--score", "--scoring",
        "--seed", "--select", "--split", "--task", "--threads", "--trust-checkpoint", "--weights-root",
        "--workers",
    ],
    "study corruption": [
        "--address", "--batch-size", "--beside", "--boxes", "--cards", "--data-option", "--data-root",
        "--dataset", "--device", "--engine", "--format", "--gpus-per-worker", "--limit", "--models",
        "--n-boot", "--only", "--option", "--out", "--precision", "--protocol", "--save-maps", "--score",
        "--scoring", "--seed", "--select", "--severities", "--split", "--task", "--threads",
        "--trust-checkpoint", "--weights-root", "--workers",
    ],
    "study factor": [
        "--address", "--batch-size", "--beside", "--cards", "--data-option", "--data-root", "--dataset",
        "--device", "--effect", "--engine", "--factor", "--factors", "--format", "--gpus-per-worker",
        "--levels", "--limit", "--models", "--n-boot", "--option", "--out", "--pairs", "--precision",
        "--protocol", "--save-maps", "--score", "--scoring", "--seed", "--select", "--split", "--task",
        "--threads", "--trust-checkpoint", "--weights-root", "--workers",
    ],
    "study resolution": [
        "--address", "--batch-size", "--beside", "--boxes", "--cards", "--data-option", "--data-root",
        "--dataset", "--device", "--engine", "--format", "--gpus-per-worker", "--limit", "--models",
        "--n-boot", "--option", "--out", "--precision", "--protocol", "--save-maps", "--score", "--scoring",
        "--seed", "--select", "--sides", "--split", "--task", "--threads", "--trust-checkpoint",
        "--weights-root", "--workers",
    ],
    "study video": [
        "--address", "--batch-size", "--beside", "--cards", "--clips", "--data-option", "--data-root",
        "--dataset", "--device", "--engine", "--format", "--gpus-per-worker", "--limit", "--models",
        "--n-boot", "--option", "--out", "--precision", "--protocol", "--save-maps", "--score", "--scoring",
        "--seed", "--select", "--split", "--task", "--threads", "--trust-checkpoint", "--weights-root",
        "--workers",
    ],
    "verify coco": ["--cards", "--out"],
    "verify conventions": [
        "--cards", "--data-root", "--dataset", "--device", "--images", "--json", "--model", "--option",
        "--precision", "--protocol", "--split", "--weights-root",
    ],
    "verify golden": ["--cards", "--json", "--weights-root"],
    "verify pixels": [
        "--cards", "--data-root", "--dataset", "--device", "--images", "--input", "--json", "--model",
        "--normalise", "--option", "--output", "--protocol", "--space", "--split", "--task",
        "--trust-checkpoint", "--weights-root",
    ],
    "verify run": ["--cards", "--json", "--repair"],
    "view": ["--cards", "--data-root", "--no-open", "--open", "--out", "--with-pictures"],
    "weights check": ["--cards", "--trust-checkpoint", "--weights-root"],
    "weights convert": ["--out", "--trust-checkpoint"],
    "weights get": ["--accept-licence", "--cards"],
    "weights list": ["--cards", "--task", "--weights-root"],
    "weights show": ["--cards", "--weights-root"],
}  # fmt: skip


def _flags(command: object, name: str = "") -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    options = [o for p in command.params for o in (*p.opts, *p.secondary_opts) if o.startswith("-")]  # type: ignore[attr-defined]
    if options or not hasattr(command, "commands"):
        found[name] = sorted(options)
    for key, child in getattr(command, "commands", {}).items():
        found |= _flags(child, f"{name} {key}".strip())
    return found


def test_the_list_of_flags_is_frozen() -> None:
    found = {name: flags for name, flags in _flags(typer.main.get_command(app)).items() if flags}
    assert found == FLAGS


def test_public_names_are_sorted_and_resolve() -> None:
    import sapiens_bench

    assert sapiens_bench.__all__ == sorted(sapiens_bench.__all__)
    assert sapiens_bench.__all__ == ["__version__", "evaluate", "load_model"]
    assert all(getattr(sapiens_bench, name) for name in sapiens_bench.__all__)
    assert set(sapiens_bench.__all__) <= set(dir(sapiens_bench))


def test_help_loses_no_word_of_its_examples_to_markup() -> None:
    lost = []
    for name in _flags(typer.main.get_command(app)):
        command = typer.main.get_command(app)
        for part in name.split():
            command = command.commands[part]  # type: ignore[attr-defined]
        shown = "".join(CliRunner().invoke(app, [*name.split(), "--help"], env={"COLUMNS": "300"}).stdout.split())
        lost += [line for line in (command.epilog or "").splitlines() if "".join(line.split()) not in shown]
    assert lost == []
