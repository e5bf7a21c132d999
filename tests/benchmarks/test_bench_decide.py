"""What deciding costs at 5,000 images: the gate, a comparison, the diagnosis of errors, the search for a protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest

from sapiens_bench.decide.compare import compare
from sapiens_bench.decide.explain import candidate
from sapiens_bench.decide.gate import gate
from sapiens_bench.decide.sides import Member, Side, read_side
from sapiens_bench.decide.spec import GateSpec
from sapiens_bench.decide.variants import aggregates
from sapiens_bench.stats.bootstrap import draw_weights
from sapiens_bench.stats.paired import paired_differences
from sapiens_bench.tasks.pose.diagnosis import diagnose
from sapiens_bench.tasks.pose.metrics import OksMetric
from sapiens_bench.tasks.pose.pairing import pair
from sapiens_bench.tasks.pose.scoring import PoseScoring
from sapiens_bench.tasks.seg.metrics import SegMetric
from sapiens_bench.testing import toy

TOPIC = "Deciding at 5,000 images"
N, K = 5_000, 17
SIGMAS = [0.05] * K


@pytest.fixture(scope="module")
def people(poses: ModuleType) -> tuple[list[Any], list[Any]]:
    found: tuple[list[Any], list[Any]] = poses.suite(3, N, K)
    return found


def pose_sides(people: tuple[list[Any], list[Any]], tmp_path: Any) -> tuple[Side, Side]:
    """Two sides of one pose model each, with 5,000 rows that a metric made."""
    metric = OksMetric(SIGMAS, {}, PoseScoring())
    measured = metric.measure_table(*people)
    with toy.installed():
        toy.go(tmp_path / "run", {"n": 2})
        side = read_side(tmp_path / "run")
    (member,) = side.members
    names = [f"k{i}" for i in range(N)]
    base = {"index": list(range(N)), "key": names, "group": names, "status": ["ok"] * N, "error_side": [""] * N}
    rows = pa.table({**base, **{name: measured[name] for name in measured.column_names if name not in base}})
    space = {"id": "set", "kind": "keypoints", "names": [f"p{i}" for i in range(K)], "sigmas": SIGMAS}
    fields = {"protocol": {"scoring": {}}, "space": space, "weights_sha256": "x"}
    made: Member = replace(member, task="pose", rows=rows, n_planned=N, headline="oks/AP", fields=fields)
    return replace(side, members=(made,)), replace(side, members=(replace(made),))


def test_the_gate_and_a_comparison(page: Any, people: tuple[list[Any], list[Any]], tmp_path: Any) -> None:
    base, cand = pose_sides(people, tmp_path)
    page.seconds(TOPIC, "gate, one pose model, 2,000 draws", lambda: gate(base, cand, GateSpec()), 1, at_most=5)
    page.seconds(TOPIC, "compare, one pair in AP, 2,000 draws", lambda: compare([base, cand]), 1, at_most=6)


def test_a_thousand_paired_draws(page: Any, people: tuple[list[Any], list[Any]], fake: Callable[[str], Any]) -> None:
    pose, seg = OksMetric(SIGMAS, {}, PoseScoring()), SegMetric([str(c) for c in range(28)])
    groups = [str(i) for i in range(N)]
    rows = pose.measure_table(*people)
    for name, metric, table, key, goal in (
        ("AP", pose, rows, "AP", 3),
        ("mIoU of 28 classes", seg, fake("dense_rows").seg_rows(N, 28), "miou", 0.5),
    ):

        def everything(metric: Any = metric, table: pa.Table = table, key: str = key) -> None:
            a, b = (metric.aggregate(table) for _ in range(2))
            weights = draw_weights(groups, 1000, 0)
            assert key in paired_differences(a, b, weights, keys=(key,), n_groups=N)

        page.seconds(TOPIC, f"1,000 paired draws of {name}", everything, at_most=goal)


def test_the_diagnosis_of_ten_models(page: Any, people: tuple[list[Any], list[Any]]) -> None:
    metric = OksMetric(SIGMAS, {}, PoseScoring())

    def ten() -> None:
        for _ in range(10):
            diagnose(metric, pair(metric, *people))

    page.seconds(TOPIC, "error diagnosis of ten models, for the page", ten, 1, at_most=10)


def test_the_search_for_a_protocol(page: Any, people: tuple[list[Any], list[Any]]) -> None:
    metric = OksMetric(SIGMAS, {}, PoseScoring())
    weights = draw_weights([str(i) for i in range(N)], 200, 0)

    def search() -> None:
        for variant, scores in aggregates(metric, SIGMAS, {}, *people):
            candidate(variant.title, scores, weights, ("AP", "AR"))

    page.seconds(TOPIC, "explain-number: 60 ways, two scores, 200 draws", search, 1, at_most=60)
