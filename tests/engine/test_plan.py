"""What can run, what cannot, and what code stands behind a name."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import sapiens_bench.tasks
from sapiens_bench import models, tasks
from sapiens_bench.api import evaluate, load_model
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.schema import Weights
from sapiens_bench.engine.build import TargetBook
from sapiens_bench.engine.data_specs import scored_in
from sapiens_bench.engine.model_specs import candidates
from sapiens_bench.engine.plan import resolve
from sapiens_bench.engine.request import Request
from sapiens_bench.errors import CardError, DataMissing, LabelSpaceMismatch, UnknownName, UsageError, WeightsMissing
from sapiens_bench.store.folder import open_run
from sapiens_bench.types import Model


def test_plan_json_lists_every_sample_in_order_and_never_changes(toy: ModuleType, tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, {"n": 4})
    with open_run(tmp_path, plan.identity, []):
        first = (tmp_path / "plan.json").read_bytes()
    assert json.loads(first)["datasets"]["toy"]["keys"] == [f"toy/{i:05d}" for i in range(4)]
    with open_run(tmp_path, plan.identity, []):
        assert (tmp_path / "plan.json").read_bytes() == first


def test_the_plan_counts_and_estimates_before_anything_runs(toy: ModuleType, tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, models=("toy-plain", "toy-biased", "toy-absent"), limit=10)
    assert [c.cell.model for c in plan.cells] == ["toy-plain", "toy-biased"]
    assert plan.n_images == 20
    assert plan.disk_bytes > 0
    assert plan.free_bytes > 0
    assert [(r.model, r.status, r.counts.planned) for r in plan.unavailable] == [("toy-absent", "weights missing", 10)]
    with pytest.raises(UsageError, match="Give --out on another disk"):
        replace(plan, free_bytes=1).check_disk()
    needed = plan.disk_bytes
    in_parts = replace(plan, free_bytes=needed // 4 + 1, how=replace(plan.how, part=(1, 4)))
    in_parts.check_disk()
    with pytest.raises(UsageError, match="Give --out"):
        replace(in_parts, free_bytes=needed // 8).check_disk()


def test_a_run_that_goes_on_needs_no_room_for_what_it_has_written(toy: ModuleType, tmp_path: Path) -> None:
    plan = toy.plan(tmp_path / "run", limit=10)
    stopped = replace(plan, free_bytes=plan.disk_bytes // 2)
    with pytest.raises(UsageError, match="Give --out"):
        stopped.check_disk()
    (tmp_path / "run" / "maps" / "cell").mkdir(parents=True)
    (tmp_path / "run" / "maps" / "cell" / "a.png").write_bytes(bytes(plan.disk_bytes // 2 + 2))
    stopped.check_disk()
    (tmp_path / "run" / "cards").mkdir()
    (tmp_path / "run" / "cards" / "b").write_bytes(bytes(plan.disk_bytes))
    with pytest.raises(UsageError, match="Give --out"):
        replace(plan, free_bytes=1).check_disk()  # no image is in it


def test_names_that_do_not_exist_bring_the_nearest(toy: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="toy-plain"):
        toy.plan(tmp_path, models=("toy-plian",))
    with pytest.raises(UnknownName, match="toy"):
        toy.plan(tmp_path, datasets=("tyo",))
    with pytest.raises(UnknownName, match="plain"):
        toy.plan(tmp_path, protocol="plane")


def _with_spaces(catalog: Any, model_space: str, target: str) -> Any:
    card = catalog.datasets["toy"]
    protocol = card.protocols["plain"].model_copy(update={"space": target})
    entry = catalog.models["toy-plain"]
    entry = replace(entry, card=entry.card.model_copy(update={"space": model_space}))
    datasets = {"toy": card.model_copy(update={"protocols": {"plain": protocol}})}
    return replace(catalog, datasets=datasets, models={**catalog.models, "toy-plain": entry})


def test_a_model_whose_set_has_no_map_gets_a_refused_row(toy: ModuleType, tmp_path: Path) -> None:
    catalog = _with_spaces(toy.toy_catalog(), "coco17", "goliath308")
    request = Request(task="toy", models=("toy-plain",), datasets=("toy",), out=tmp_path)
    plan = resolve(request, catalog)
    assert not plan.cells
    assert plan.unavailable[0].status == "refused"
    assert "No map from 'coco17' to 'goliath308'" in plan.unavailable[0].how
    assert isinstance(plan.first_error, LabelSpaceMismatch)


def test_the_same_set_needs_no_map(toy: ModuleType, tmp_path: Path) -> None:
    catalog = _with_spaces(toy.toy_catalog(), "coco17", "coco17")
    plan = resolve(Request(task="toy", models=("toy-plain",), datasets=("toy",), out=tmp_path), catalog)
    assert plan.cells[0].space_map is None


def test_a_data_set_that_was_named_and_is_absent_has_rows_that_say_so(toy: ModuleType, tmp_path: Path) -> None:
    catalog = toy.toy_catalog()
    absent = catalog.datasets["toy"].model_copy(update={"id": "toy-far", "embedded": False, "layout": ("*.far",)})
    catalog = replace(catalog, datasets={**catalog.datasets, "toy-far": absent})
    catalog.card_paths["toy-far"] = catalog.card_paths["toy"]
    named = Request(task="toy", models=("toy-plain",), datasets=("toy", "toy-far"), out=tmp_path)
    plan = resolve(named, catalog)
    assert [(r.dataset, r.status) for r in plan.unavailable] == [("toy-far", "data missing")]
    assert "--data-root" in plan.unavailable[0].how
    unnamed = resolve(replace(named, datasets=()), catalog)
    assert not unnamed.unavailable
    assert "toy-far" in unnamed.notes[0]
    with pytest.raises(DataMissing, match="toy-far"):
        resolve(replace(named, datasets=("toy-far",)), catalog)


def test_a_further_file_with_other_bytes_makes_another_experiment_pinned_or_not(
    toy: ModuleType, tmp_path: Path
) -> None:
    catalog, request = toy.toy_catalog(), Request(task="toy", models=("toy-plain",), datasets=("toy",), out=tmp_path)
    entry, pin = catalog.models["toy-plain"], hashlib.sha256(b"side").hexdigest()
    (tmp_path / "net.bin").write_bytes(b"net")

    def fields(side: bytes, pinned: str | None) -> dict[str, Any]:
        (tmp_path / "side.bin").write_bytes(side)
        said = {"file": "net.bin", "format": "graph", "sha256": None, "also": {"side.bin": pinned}, "get": {"how": "-"}}
        variant = entry.variant.model_copy(update={"weights": Weights.model_validate(said)})
        models = {**catalog.models, "toy-plain": replace(entry, variant=variant)}
        return resolve(replace(request, weights_root=tmp_path), replace(catalog, models=models)).cells[0].fields

    assert fields(b"side", None) != fields(b"other", None)
    assert fields(b"other", None)["also_sha256"] == {"side.bin": hashlib.sha256(b"other").hexdigest()}
    assert fields(b"side", pin)["also_sha256"] == {"side.bin": pin}


def test_code_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(UnknownName, match=r"Unknown wrapper .movent.\. Did you mean .movenet."):
        models.TABLE.check("movent")
    with pytest.raises(UnknownName, match="'tast'"):
        tasks.TABLE.find("tast")


def test_code_that_cannot_be_imported_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sapiens_bench.tasks.TASKS, "future", "sapiens_bench.tasks.no_such_module:make_task")
    with pytest.raises(CardError, match="not part of this installation"):
        tasks.TABLE.check("future")
    with pytest.raises(CardError, match="ModuleNotFoundError"):
        tasks.TABLE.find("future")
    (tmp_path / "broken.py").write_text("raise RuntimeError('half written')\n")
    with pytest.raises(CardError, match="RuntimeError: half written"):
        models.TABLE.find("./broken.py:Model", tmp_path / "card.yaml")


def test_the_python_api_takes_lists_and_card_folders(toy: ModuleType, tmp_path: Path) -> None:
    record = evaluate(
        task="toy", models=["toy-plain"], datasets="toy", cards=[toy.CARDS], out=tmp_path, limit=4, device="cpu"
    )
    assert record.cells[0].counts.ok == 4
    model = load_model("toy-plain", cards=[toy.CARDS], bias=0.1)
    assert isinstance(model, Model)
    with pytest.raises(WeightsMissing, match="toy-absent"):
        load_model("toy-absent", cards=[toy.CARDS])
    with pytest.raises(UsageError, match="sees the ground truth"):
        load_model("toy-oracle", cards=[toy.CARDS])


def test_targets_are_remembered_within_bounds(toy: ModuleType) -> None:
    plan = toy.plan(Path("unused"), {"n": 9})
    adapter = plan.data[0].open.adapter
    book = TargetBook(adapter, n_kept=2)
    for index in range(9):
        book[index]
    assert len(book._targets) == 2
    assert book.target("toy/00000") == adapter[0].target


def test_a_data_set_whose_adapter_is_not_here_is_left_out_unless_it_was_named(toy: ModuleType, tmp_path: Path) -> None:
    catalog = toy.toy_catalog()
    strange = catalog.datasets["toy"].model_copy(update={"id": "toy-strange", "adapter": "of-the-future"})
    catalog = replace(catalog, datasets={**catalog.datasets, "toy-strange": strange})
    catalog.card_paths["toy-strange"] = catalog.card_paths["toy"]
    plan = resolve(Request(task="toy", models=("toy-plain",), out=tmp_path), catalog)
    assert [c.cell.dataset for c in plan.cells] == ["toy"]
    assert "toy-strange is left out: Unknown adapter 'of-the-future'" in plan.notes[0]
    with pytest.raises(UnknownName, match="of-the-future"):
        resolve(Request(task="toy", models=("toy-plain",), datasets=("toy-strange",), out=tmp_path), catalog)


def test_a_model_may_join_all_on_the_sets_it_is_for_alone() -> None:
    catalog = Catalog.load()
    for protocol, joined in (("wholebody133", True), ("goliath308-wb83", True), ("gt-box", False)):
        request = Request(task="pose", models=("all",), datasets=("synthetic-humans",), protocol=protocol, split="tiny")
        where = request.data()
        found = candidates(request.model(), catalog, scored_in(where, catalog))
        assert ("holistic-full" in [c.entry.id for c in found.all]) is joined
    assert scored_in(Request(task="pose", datasets=("no-such-set",)).data(), catalog) == set()


def test_a_protocol_alone_tells_which_models_join_all() -> None:
    """BodyPix has 24 parts of its own: it stands where 12 coarse parts or people are scored, and nowhere else."""
    catalog = Catalog.load()
    for protocol, joined in (("coarse", True), ("person", True), ("", False)):
        request = Request(task="seg", models=("all",), protocol=protocol)
        found = candidates(request.model(), catalog, scored_in(request.data(), catalog))
        assert ("bodypix-mobilenet-050" in [c.entry.id for c in found.all]) is joined, protocol
