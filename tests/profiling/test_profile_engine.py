from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.engine import profile as engine
from sapiens_bench.engine.profile import run_profile
from sapiens_bench.engine.profile_build import choose
from sapiens_bench.engine.profile_request import ProfileRequest, parse_batches
from sapiens_bench.engine.request import parse_input
from sapiens_bench.engine.specs import ModelSpec
from sapiens_bench.errors import CardError, DeviceError, UnknownName, UsageError
from sapiens_bench.profiling.parent import Answer
from sapiens_bench.profiling.record import read_profile
from sapiens_bench.profiling.timing import Budget

QUICK = Budget(min_seconds=0.0, min_calls=3, max_seconds=1.0, warmup_seconds=0.1)
GFLOPS = {"movenet-lightning": 0.54, "movenet-thunder": 2.44, "blazepose-lite": 0.67, "blazepose-full": 1.40}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load()


def model_of(job: dict[str, Any]) -> str:
    return ModelSpec.from_json(job["arguments"]["spec"]).id


def spread(p50: float) -> dict[str, float]:
    return {"n": 5, "p50": p50, "p90": p50, "p99": p50, "mean": p50, "iqr": 0.0, "minimum": p50}


def measured(p50: float) -> dict[str, Any]:
    stages = {"load_s": 1.0, **{name: spread(p50) for name in ("prepare", "forward", "download", "finish")}}
    latency = {
        "clock": "perf_counter", "first_call_s": 1.0, "n_warmup": 2, "warmup_s": 0.1, "is_stable": True, "drift": 0.0,
        "measured_s": 1.0, "throughput_per_s": 1.0, "stages": stages,
    }  # fmt: skip
    memory = {"predicted_bytes": 0, "peak_rss_bytes": 9, "base_rss_bytes": 4}
    return {"weights": "card", "latency": latency, "memory": memory, "energy": None, "before": {}, "after": {}}


CEILING = {"device": "x", "flops_per_s": {"fp32": 1e11}, "bytes_per_s": 1e10, "is_measured": True, "source": "s"}


def test_counts_of_the_embedded_models_are_the_known_ones_both_passes_together(catalog: Catalog) -> None:
    record = run_profile(ProfileRequest(models=tuple(GFLOPS), counts_only=True), catalog)
    found = {row.model: row.counts.flops_per_crop / 1e9 for row in record.rows if row.counts}
    assert {name: round(value, 1 if name == "blazepose-full" else 2) for name, value in found.items()} == GFLOPS
    assert {row.model: row.counts.passes for row in record.rows if row.counts}["blazepose-full"] == 2


def test_counts_of_the_largest_sapiens_need_no_weights(catalog: Catalog) -> None:
    record = run_profile(ProfileRequest(models=("sapiens-2b",), counts_only=True), catalog)
    row = record.rows[0]
    assert row.status == "counted"
    assert row.counts is not None
    assert row.counts.passes == 2  # flip test
    assert round(row.counts.flops / 1e12, 3) == 17.050
    assert row.paper is not None
    assert set(row.floors) == {"A100", "H100", "H200", "L4", "T4", "RTX 4090"}
    assert not any(floor.is_measured for floor in row.floors.values())


def test_an_encoder_is_counted_alone_and_in_one_pass(catalog: Catalog) -> None:
    row = run_profile(ProfileRequest(models=("sapiens-0.3b/encoder",), counts_only=True), catalog).rows[0]
    assert row.model == "sapiens-0.3b/encoder"
    assert row.counts is not None
    assert (row.counts.passes, round(row.counts.flops / 1e12, 3)) == (1, 2.788)


def test_another_input_size_changes_the_count(catalog: Catalog) -> None:
    request = ProfileRequest(models=("sapiens-0.3b-seg", "movenet-thunder"), counts_only=True, input_hw=(512, 384))
    small, fixed = run_profile(request, catalog).rows
    assert small.counts is not None
    assert small.counts.input_hw == (512, 384)
    assert 0.15 < small.counts.macs_total / 2.3647e12 < 0.25
    assert (fixed.status, "fixed input size" in fixed.how) == ("refused", True)


def test_models_without_a_network_or_wrapper_are_rows_that_say_so(catalog: Catalog) -> None:
    names = ("hrnet", "oracle", "blazepose-heavy")
    record = run_profile(ProfileRequest(models=names, counts_only=True), catalog)
    assert {row.model for row in record.rows} == set(names)
    assert all(row.status == "unavailable" and row.how for row in record.rows)


def test_every_model_card_gives_a_row_and_no_crash(catalog: Catalog) -> None:
    chosen, _ = choose(catalog, ["all"], None)
    assert {c.entry.card.kind for c in chosen} == {"network"}
    small = [c.id for c in chosen if not c.id.startswith("sapiens")]
    record = run_profile(ProfileRequest(models=tuple(small), counts_only=True), catalog)
    assert [row.model for row in record.rows] == small
    assert all(row.status == "counted" or row.how for row in record.rows)


def test_why_a_count_needs_the_weights_is_told(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("a meta tensor has no values\nand more")

    monkeypatch.setattr("sapiens_bench.engine.profile_build._count", fail)
    (row,) = run_profile(ProfileRequest(models=("sapiens-0.3b",), counts_only=True), catalog).rows
    assert row.status == "unavailable"
    assert "without its weights (RuntimeError: a meta tensor has no values)." in row.how


def test_a_defect_while_counting_is_no_lack_of_weights(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise AttributeError("misspelt")

    monkeypatch.setattr("sapiens_bench.engine.profile_build._count", fail)
    (row,) = run_profile(ProfileRequest(models=("sapiens-0.3b",), counts_only=True), catalog).rows
    assert (row.status, row.how) == ("failed", "Not counted: AttributeError: misspelt")


def test_a_pattern_that_matches_nothing_is_an_error_with_advice(catalog: Catalog) -> None:
    with pytest.raises(UnknownName, match="movenet-thunder"):
        choose(catalog, ["movenet-thunde"], None)
    with pytest.raises(UsageError, match="pose"):
        choose(catalog, ["movenet-thunder"], "seg")


@pytest.mark.parametrize(("options", "kind"), [({"paddin": 9}, UnknownName), ({"padding": 99}, CardError)])
@pytest.mark.parametrize("counts_only", [True, False])
def test_a_mistyped_option_is_refused_before_anything_is_counted_or_timed(
    options: dict[str, Any], kind: type[Exception], counts_only: bool, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **more: Any) -> Any:
        raise AssertionError("it began")

    monkeypatch.setattr(engine, "ask", fail)
    monkeypatch.setattr(engine, "count_entry", fail)
    request = ProfileRequest(models=("movenet-thunder",), device="cpu", counts_only=counts_only, options=options)
    with pytest.raises(kind, match="padding"):
        run_profile(request, catalog)


def test_an_option_reaches_the_profiled_models_that_have_it_and_a_note_names_the_others(catalog: Catalog) -> None:
    chosen, notes = choose(catalog, ["movenet-thunder", "sapiens-0.3b/encoder"], "pose", {"padding": 1.5})
    assert [one.candidate.options.get("padding") for one in chosen] == [1.5, None]
    assert any("padding does not reach sapiens-0.3b" in note for note in notes)
    record = run_profile(
        ProfileRequest(models=("movenet-thunder", "oracle"), counts_only=True, options={"padding": 1.5}), catalog
    )
    assert any("padding does not reach oracle" in note for note in record.notes)


def test_a_missing_device_ends_the_request(catalog: Catalog) -> None:
    with pytest.raises(DeviceError):
        run_profile(ProfileRequest(models=("movenet-thunder",), device="cuda:77"), catalog)


def test_a_precision_the_device_lacks_is_a_refused_row(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        engine, "ask", lambda job, timeout: Answer(CEILING if job["kind"] == "ceiling" else measured(0.01))
    )
    request = ProfileRequest(models=("movenet-thunder",), device="cpu", precisions=("fp32", "fp16"))
    rows = run_profile(request, catalog).rows
    assert [(row.precision, row.status) for row in rows] == [("fp32", "done"), ("fp16", "refused")]
    assert "fp16" in rows[1].how


def test_per_cent_of_the_limit_is_floor_over_median(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        engine, "ask", lambda job, timeout: Answer(CEILING if job["kind"] == "ceiling" else measured(0.1))
    )
    row = run_profile(ProfileRequest(models=("movenet-thunder",), device="cpu"), catalog).rows[0]
    assert row.counts is not None
    assert row.percent_of_limit == pytest.approx(100 * row.counts.flops_per_crop / 1e11 / 0.1)
    assert row.floors["here"].is_measured


def test_the_batch_is_halved_until_it_fits_and_the_row_says_so(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def fake(job: dict[str, Any], timeout: float | None) -> Answer:
        if job["kind"] == "ceiling":
            return Answer(None, "no")
        asked.append(job["batch"])
        return Answer(None, "out of memory", True) if job["batch"] > 2 else Answer(measured(0.01))

    monkeypatch.setattr(engine, "ask", fake)
    row = run_profile(ProfileRequest(models=("movenet-thunder",), device="cpu", batches=(8,)), catalog).rows[0]
    assert asked == [8, 4, 2]
    assert (row.status, row.batch_asked, row.batch) == ("done", 8, 2)
    assert any("memory ran out" in note for note in row.notes)


def test_a_model_larger_than_memory_is_refused_before_it_starts(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def fake(job: dict[str, Any], timeout: float | None) -> Answer:
        asked.append(job["kind"])
        return Answer(CEILING)

    monkeypatch.setattr(engine, "ask", fake)
    monkeypatch.setattr(engine, "available_bytes", lambda device: 4_000_000_000)
    row = run_profile(ProfileRequest(models=("sapiens-2b-seg",), device="cpu"), catalog).rows[0]
    assert asked == ["ceiling"]
    assert row.status == "refused"
    assert "GB" in row.how
    assert row.memory is not None
    assert row.memory.predicted_bytes > 8_600_000_000


def test_a_model_that_fails_in_its_child_does_not_stop_the_others(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fake(job: dict[str, Any], timeout: float | None) -> Answer:
        if job["kind"] == "ceiling":
            return Answer(CEILING)
        broken = model_of(job) == "movenet-lightning"
        return Answer(None, "ValueError: it broke") if broken else Answer(measured(0.01))

    monkeypatch.setattr(engine, "ask", fake)
    rows = run_profile(ProfileRequest(models=("movenet-lightning", "movenet-thunder"), device="cpu"), catalog).rows
    assert [(row.model, row.status) for row in rows] == [("movenet-lightning", "failed"), ("movenet-thunder", "done")]
    assert rows[0].how == "ValueError: it broke"


def test_rounds_are_interleaved_and_the_median_round_is_kept(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    times = iter([0.03, 0.1, 0.01, 0.3, 0.02, 0.2])

    def fake(job: dict[str, Any], timeout: float | None) -> Answer:
        if job["kind"] == "ceiling":
            return Answer(CEILING)
        order.append(model_of(job))
        return Answer(measured(next(times)))

    monkeypatch.setattr(engine, "ask", fake)
    rows = run_profile(
        ProfileRequest(models=("movenet-lightning", "movenet-thunder"), device="cpu", rounds=3), catalog
    ).rows
    assert order == ["movenet-lightning", "movenet-thunder"] * 3
    assert [row.latency.stages.forward.p50 for row in rows if row.latency] == [0.02, 0.2]
    assert "differ by 200.0%" in rows[0].notes[-1]


@pytest.mark.slow
def test_a_real_profile_of_an_embedded_model_and_a_random_sapiens(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ProfileRequest(
        models=("movenet-lightning", "sapiens-0.3b/encoder"), device="cpu", budget=QUICK, threads=1, out=tmp_path,
        options={}, input_hw=None,
    )  # fmt: skip
    small = ProfileRequest(**{**vars(request), "models": ("sapiens-0.3b/encoder",), "input_hw": (64, 48)})
    first = run_profile(ProfileRequest(**{**vars(request), "models": ("movenet-lightning",)}), catalog).rows[0]
    really = engine.ask  # the machine was measured for the first
    monkeypatch.setattr(engine, "ask", lambda job, s: Answer(CEILING) if job["kind"] == "ceiling" else really(job, s))
    second = run_profile(small, catalog).rows[0]
    assert (first.status, first.weights, second.status, second.weights) == ("done", "card", "done", "random")
    assert math.isfinite(first.percent_of_limit)
    assert any("random" in note for note in second.notes)
    assert second.memory is not None
    assert second.memory.peak_rss_bytes > 4 * 300e6
    assert read_profile(tmp_path).rows[0].model == "sapiens-0.3b/encoder"


def test_sizes_and_batches_are_parsed_and_nonsense_is_refused() -> None:
    assert parse_input("1024x768") == (1024, 768)
    assert parse_batches("1,2,4,2") == (1, 2, 4)
    for bad in ("1024", "axb", "1x2x3"):
        with pytest.raises(UsageError, match="HEIGHTxWIDTH"):
            parse_input(bad)
    for bad in ("", "1,x"):
        with pytest.raises(UsageError, match="--batch"):
            parse_batches(bad)
    with pytest.raises(UsageError, match="between 16 and 16384"):
        ProfileRequest(input_hw=(1, 99999))
    with pytest.raises(UsageError, match="at least 1"):
        ProfileRequest(batches=(0,))


def test_costs_enter_the_run_record_of_the_same_folder_and_survive_a_new_run(tmp_path: Path) -> None:
    import sapiens_bench
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.engine.profile import run_profile
    from sapiens_bench.engine.profile_request import ProfileRequest
    from sapiens_bench.store.record import read_run

    request = ProfileRequest(models=("movenet-lightning",), counts_only=True)
    run_profile(request.to(tmp_path), Catalog.load())
    alone = read_run(tmp_path)
    assert (alone.task, alone.cells, [row["model"] for row in alone.costs]) == ("profile", [], ["movenet-lightning"])
    sapiens_bench.evaluate(
        task="pose", models=("oracle",), datasets=("synthetic-humans",), split="tiny", limit=1, out=tmp_path, n_boot=0
    )
    both = read_run(tmp_path)
    assert [cell.model for cell in both.cells] == ["oracle"]
    assert both.costs == alone.costs
