"""No change of a file's bytes brings a reader to anything but a result or a refusal, in bounded time and memory."""

from __future__ import annotations

import tracemalloc
from datetime import timedelta
from pathlib import Path

import pytest
from fault_suite import fuzz
from hypothesis import given, settings
from hypothesis import strategies as st

BYTES = 100_000_000  # of a file of a few kilobytes; an array may claim to be larger and is then refused
EDIT = st.tuples(
    st.integers(0, 10**4), st.integers(0, 40), st.one_of(st.binary(max_size=4), st.sampled_from(fuzz.TOKENS))
)


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_a_sound_file_is_read(tmp_path: Path, name: str) -> None:
    assert all(fuzz.attempt(fuzz.TARGETS[name], data, tmp_path) for data in fuzz.TARGETS[name].seeds)


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_a_changed_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    folder, target = tmp_path_factory.mktemp(name), fuzz.TARGETS[name]

    @settings(max_examples=60, deadline=timedelta(seconds=10))
    @given(st.sampled_from(target.seeds), st.lists(EDIT, min_size=1, max_size=3))
    def check(data: bytes, edits: list[tuple[int, int, bytes]]) -> None:
        for at, length, put in edits:
            at %= len(data) + 1
            data = data[:at] + put + data[at + length :]
        tracemalloc.start()
        try:
            fuzz.attempt(target, data, folder)  # raises what is neither
            assert tracemalloc.get_traced_memory()[1] < BYTES
        finally:
            tracemalloc.stop()

    check()


def test_the_fuzzer_finds_a_reader_that_crashes(tmp_path: Path) -> None:
    def read(data: bytes, folder: Path) -> object:
        return data.decode("ascii") if b"v 0 0 0" in data else 1 / 0

    fragile = fuzz.Fuzzed(read, (fuzz.OBJ,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fuzz, "TARGETS", {"fragile": fragile})
        found = fuzz.fuzzed("fragile", 300, 0, tmp_path)
    assert found["crashes"] > 3
    assert len(list(tmp_path.glob("crash-fragile-*"))) == found["crashes"]


def test_a_texture_name_longer_than_any_file_name_is_like_one_that_is_missing(tmp_path: Path) -> None:
    images = []
    for name in (b"absent.png", b"9" * 5000):
        found = fuzz.read_mtl(b"newmtl skin\nmap_Kd " + name + b"\n", tmp_path)
        images.append([coat.map.image.name for coat in found.coats])
    assert images == [["skin.png"], ["skin.png"]]  # the only picture there is
