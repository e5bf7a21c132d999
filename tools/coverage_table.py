"""Do our intervals hold what they promise? Writes results/coverage/: coverage of intervals, false alarms of families.

    python tools/coverage_table.py                 # about half an hour on one core; what is done is kept in --work
    python tools/coverage_table.py --samples 200   # a look

Rows are those of models and floors that come with the package, on the 120 pictures that the machine renders itself.
Groups are unequal: 1 to 5 pictures each, neighbours in difficulty, so that pictures of a group are alike.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import sapiens_bench
from sapiens_bench.decide.pairs import task_of
from sapiens_bench.decide.sides import Member, read_side
from sapiens_bench.stats.coverage import METHODS, Population, simulate, unequal_groups
from sapiens_bench.stats.false_alarms import FAMILIES, PairPopulation, alarms
from sapiens_bench.store.frames import image_scores
from sapiens_bench.tasks.columns import numbers

ROOT = Path(__file__).resolve().parent.parent
GROUPS = {"coverage": (30, 120, 1000), "alarms": (12, 30, 120)}
LEVEL = 0.95


class Subject(NamedTuple):
    """One score of one model; for false alarms of another model, too."""

    title: str
    task: str
    models: tuple[str, ...]
    metric: str
    key: str
    ratio: tuple[str, str] | None  # columns of sum and count; an empty count: the mean of images' own scores
    family: tuple[str, ...]  # scores that are asked about together


SUBJECTS = (
    Subject("AP", "pose", ("movenet-lightning", "blazepose-full"), "oks", "AP", None, ("AP", "AP50", "AP75", "AR")),
    Subject("mIoU", "seg", ("noisy-oracle-seg", "floor-background"), "seg", "miou", None, ("miou", "macc", "aacc")),
    Subject(
        "mean angle", "normal", ("floor-silhouette-normal", "floor-flat-normal"), "normal", "mean_deg",
        ("angle_deg", "n"), ("mean_deg", "rmse_deg", "below_11_25", "below_30"),
    ),
    Subject(
        "AbsRel", "depth", ("floor-silhouette-depth", "floor-median-depth"), "depth", "abs_rel", ("", ""),
        ("rmse", "abs_rel", "delta1", "silog"),
    ),
    Subject("RMSE", "depth", ("floor-silhouette-depth", "floor-median-depth"), "depth", "rmse", ("", ""), ()),
)  # fmt: skip


def members(subject: Subject, runs: Path) -> list[Member]:
    """Rows of both models; the run is made where it is missing."""
    out = runs / subject.task
    if not (out / "run.json").is_file():
        models = sorted({m for s in SUBJECTS if s.task == subject.task for m in s.models})
        sapiens_bench.evaluate(
            task=subject.task, models=models, datasets="synthetic-humans", device="cpu", out=out, n_boot=1
        )
    found = {m.model: m for m in read_side(out).members}
    return [found[name] for name in subject.models]


def grouped(subject: Subject, member: Member) -> tuple[Any, Any, dict[str, list[float]]]:
    """The metric's aggregate, the group of each row, and the scores of single images."""
    (metric,) = [m for m in task_of(member).metrics if m.name == subject.metric]
    alone = image_scores(member.rows, [metric])
    order = np.argsort(np.nan_to_num(alone[f"{subject.metric}/{subject.key}"]), kind="stable")
    return metric, unequal_groups(order, seed=1), alone


def population(subject: Subject, runs: Path) -> Population:
    member = members(subject, runs)[0]
    metric, group_N, alone = grouped(subject, member)
    ratio: tuple[np.ndarray, np.ndarray] | None = None
    if subject.ratio is not None:
        above, below = subject.ratio
        if below:
            ratio = (
                numbers(member.rows, f"{subject.metric}/{above}"),
                numbers(member.rows, f"{subject.metric}/{below}"),
            )
        else:
            values = np.array(alone[f"{subject.metric}/{subject.key}"])
            ratio = (np.nan_to_num(values), np.isfinite(values).astype(float))
    return Population(subject.title, metric.aggregate(member.rows), subject.key, group_N, ratio)


def coverage_cell(subject: Subject, runs: Path, n_groups: int, samples: int, draws: int) -> list[dict[str, Any]]:
    found = simulate(population(subject, runs), n_groups, samples, draws, seed=0, level=LEVEL)
    return [
        {
            "score": subject.title, "groups": n_groups, "method": name, "samples": samples, "draws": draws,
            "coverage": round(100 * t.share, 2), "below": round(100 * t.too_low / max(1, t.n), 2),
            "undefined": t.undefined, "mean_width": float(f"{np.mean(t.widths or [np.nan]):.4g}"),
        }
        for name, t in found.items()
    ]  # fmt: skip


def alarm_cell(subject: Subject, runs: Path, n_groups: int, samples: int, draws: int) -> list[dict[str, Any]]:
    a, b = members(subject, runs)
    metric, group_N, _ = grouped(subject, a)
    pair = PairPopulation(subject.title, metric.aggregate, (a.rows, b.rows), subject.family, group_N)
    shares = alarms(pair, n_groups, samples, draws, seed=0, level=LEVEL)
    return [
        {
            "family": ", ".join(subject.family), "groups": n_groups, "method": name, "samples": samples,
            "draws": draws, "false_alarms": round(100 * share, 2),
        }
        for name, share in shares.items()
    ]  # fmt: skip


def cells(args: argparse.Namespace, kind: str) -> list[dict[str, Any]]:
    """Every cell, computed or read from an earlier call with the same sizes."""
    make = {"coverage": coverage_cell, "alarms": alarm_cell}[kind]
    lines: list[dict[str, Any]] = []
    for subject in SUBJECTS:
        if (args.only and subject.title not in args.only) or (kind == "alarms" and not subject.family):
            continue
        for n_groups in GROUPS[kind]:
            samples = args.samples if kind == "coverage" else max(1, args.samples // 4)
            name = f"{kind}-{subject.title.replace(' ', '_')}-{n_groups}-{samples}-{args.draws}.json"
            path = args.work / name
            if not path.is_file():
                found = make(subject, args.work / "runs", n_groups, samples, args.draws)
                path.write_text(json.dumps(found))
                print(name, *(f"{line['method']} {line.get('coverage', line.get('false_alarms'))}" for line in found))
            lines += json.loads(path.read_text())
    return lines


def write_csv(path: Path, lines: list[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def table(lines: list[dict[str, Any]], name: str, value: str, methods: tuple[str, ...]) -> str:
    """Markdown: a line for each subject and number of groups, a column for each method."""
    found = {(line[name], line["groups"], line["method"]): line[value] for line in lines}
    head = f"| {name} | groups | {' | '.join(methods)} |\n| :-- | --: | {' | '.join('--:' for _ in methods)} |\n"
    rows = dict.fromkeys((line[name], line["groups"]) for line in lines)
    shown = ((who, n, [found.get((who, n, method)) for method in methods]) for who, n in rows)
    return head + "".join(
        f"| {who} | {n} | {' | '.join('' if v is None else f'{v:.1f}' for v in values)} |\n" for who, n, values in shown
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2000, help="data sets for each cell; a quarter of it for alarms")
    parser.add_argument("--draws", type=int, default=400, help="bootstrap draws for each data set")
    parser.add_argument("--work", type=Path, default=Path("coverage-work"), help="runs and finished cells")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "coverage")
    parser.add_argument("--only", nargs="*", default=[], help="titles of scores; writes no table")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    covered, false = cells(args, "coverage"), cells(args, "alarms")
    if args.only:
        return
    args.out.mkdir(parents=True, exist_ok=True)
    write_csv(args.out / "coverage.csv", covered)
    write_csv(args.out / "false_alarms.csv", false)
    note = (
        f"Made by `python tools/coverage_table.py --samples {args.samples} --draws {args.draws}` (sapiens-bench "
        f"{sapiens_bench.__version__}).\n"
    )
    (args.out / "tables.md").write_text(
        f"{note}\nCoverage of 95 % intervals, % of data sets:\n\n{table(covered, 'score', 'coverage', METHODS)}\n"
        "False alarms: % of data sets without any difference in which a family has a Holm p of at most 0.05:\n\n"
        f"{table(false, 'family', 'false_alarms', FAMILIES)}",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
