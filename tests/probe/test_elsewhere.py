"""Feature maps that workers elsewhere make: the cache has the bytes of one process, in any order and after any stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.errors import UsageError
from sapiens_bench.models.parts.trunks import open_trunk
from sapiens_bench.probe import cache
from sapiens_bench.probe.cache import TrainingData, maps_of, views_of
from sapiens_bench.probe.parts import Elsewhere
from sapiens_bench.probe.request import DataName, ProbeRequest
from sapiens_bench.probe.run import open_part, probe_data
from sapiens_bench.probe.views import Grid
from sapiens_bench.workers import OnDone, run_all

TRUNK = "movenet-lightning"
HW = (64, 64)


def quiet(what: str, done: int, total: int) -> None:
    """Nobody watches."""


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture
def made(cards: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, bytes]]:
    """Makes maps in a folder, with a way to send jobs or here; what lies there then."""
    monkeypatch.setattr(cache, "BLOCK", 8)
    request = ProbeRequest(TRUNK, ("seg",), DataName("discs", "train"), Path(), input_hw=HW, cards=(cards,))
    adapter = open_part(request, request.train, "seg", catalog).open.adapter
    data = TrainingData({"seg": adapter}, None, tuple(range(24)), 2, Grid(HW, 4), seed=0)
    trunk = open_trunk(TRUNK, None, input_hw=HW, device="cpu")

    def make(root: Path, send: Any = None, identity: str = trunk.identity) -> dict[str, bytes]:
        far = None if send is None else Elsewhere(send, TRUNK, "", HW, identity, "cpu")
        maps_of(data, views_of(data, root, quiet), trunk, root, "cpu", quiet, far)
        return files(root)

    return make


def in_reverse(function: str, jobs: Sequence[Any], folder: Path, on_done: OnDone) -> None:
    run_all(function, jobs[::-1], 1, on_done, folder)


def until_the_third(function: str, jobs: Sequence[Any], folder: Path, on_done: OnDone) -> None:
    run_all(function, jobs[-1:] + jobs[:2], 1, on_done, folder)
    raise KeyboardInterrupt


def must_not(function: str, jobs: Sequence[Any], folder: Path, on_done: OnDone) -> None:
    raise AssertionError("nothing is left to do")


def test_order_and_stops_leave_no_trace(made: Callable[..., dict[str, bytes]], tmp_path: Path) -> None:
    here = made(tmp_path / "here")
    assert made(tmp_path / "far", in_reverse) == here
    assert made(tmp_path / "far", must_not) == here
    for then in (None, in_reverse):
        root = tmp_path / f"stopped-{then}"
        with pytest.raises(KeyboardInterrupt):
            made(root, until_the_third)
        (folder,) = root.glob("maps-*")
        assert '"done": 16' in (folder / "done.json").read_text()
        assert (folder / "part-000000040.npz").is_file()  # waits for those before it
        assert made(root, then) == here


def test_another_trunk_under_the_same_name_is_refused(made: Callable[..., dict[str, bytes]], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="other weights here than on the driver's machine"):
        made(tmp_path, in_reverse, identity="another")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*:ResourceWarning")
def test_workers_of_a_cluster_make_the_same_bytes(
    cards: Path, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    for engine in ("local", "ray"):
        monkeypatch.setenv("SAPIENS_BENCH_CACHE", str(tmp_path / engine))
        request = ProbeRequest(
            TRUNK, ("seg",), DataName("discs", "train"), tmp_path, input_hw=HW, cards=(cards,), device="cpu",
            threads=1, engine=engine,  # type: ignore[arg-type]
        )  # fmt: skip
        probe_data(request, catalog, quiet)
    assert files(tmp_path / "ray") == files(tmp_path / "local")
