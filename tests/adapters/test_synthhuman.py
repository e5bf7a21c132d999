"""SynthHuman's layout, written by hand. EXR files are numpy files here unless the optional package is installed."""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sapiens_bench.adapters.context import DataContext
from sapiens_bench.adapters.dense import synthhuman
from sapiens_bench.adapters.dense.synthhuman import SynthHuman
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.locate import dataset_root
from sapiens_bench.cards.options import read_options
from sapiens_bench.errors import DataMissing, DatasetRejected, SampleFault

CARD = Catalog.load().dataset("synthhuman")
SIGN = np.array([1, -1, -1], np.float32)  # the files' axes, which the adapter has to find out


def fake_exr(path: Path | str, choices: tuple[tuple[str, ...], ...], **_: object) -> NDArray[np.float32]:
    with np.load(path) as arrays:
        for channels in choices:
            if all(c in arrays for c in channels):
                return np.stack([arrays[c] for c in channels], -1).astype(np.float32)
    raise SampleFault("label.channels", f"none of {choices}")


def real_exr(path: Path, channels: dict[str, NDArray[np.float32]]) -> None:
    exr = pytest.importorskip("OpenEXR")
    header = {"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}
    with exr.File(header, {k: np.ascontiguousarray(v) for k, v in channels.items()}) as file:
        file.write(str(path))


def npz_exr(path: Path, channels: dict[str, NDArray[np.float32]]) -> None:
    buffer = BytesIO()
    np.savez(buffer, **channels)
    path.write_bytes(buffer.getvalue())


def write(
    root: Path, sphere: ModuleType, ids: list[int], writer: object = npz_exr, sign: NDArray[np.float32] = SIGN
) -> None:
    ball = sphere.perspective()
    for i in ids:
        Image.fromarray(ball.image_HW3).save(root / f"rgb_{i:07d}.png")
        Image.fromarray(np.where(ball.mask_HW, 255, 100).astype(np.uint8)).save(root / f"alpha_{i:07d}.png")
        depth = np.where(ball.mask_HW, ball.depth_HW * 100, 65504).astype(np.float32)
        normals = np.nan_to_num(ball.normals_HW3) * sign
        assert callable(writer)
        writer(root / f"depth_{i:07d}.exr", {"Y": depth})
        writer(root / f"normal_{i:07d}.exr", {c: normals[..., k] for k, c in enumerate("XYZ")})
        np.savetxt(root / f"cam_{i:07d}.txt", ball.K)


@pytest.fixture
def as_npz(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthhuman, "read_exr_choice", fake_exr)


def opened(root: Path, protocol: str) -> SynthHuman:
    p = CARD.protocols[protocol]
    options = read_options(SynthHuman.Options, p.options, "test")
    return SynthHuman(
        DataContext(
            card=CARD, protocol=p, space=None, to_space={}, root=root, split="", boxes="", seed=0, options=options
        )
    )


@pytest.mark.usefixtures("as_npz")
def test_depth_comes_in_metres_and_without_the_invalid_value(tmp_path: Path, sphere: ModuleType) -> None:
    write(tmp_path, sphere, [0])
    ball, sample = sphere.perspective(), opened(tmp_path, "depth")[0]
    assert sample.key == "synthhuman/0000000"
    assert np.array_equal(sample.target.mask_HW, ball.mask_HW)
    assert np.allclose(sample.target.depth_HW[ball.mask_HW], ball.depth_HW[ball.mask_HW], rtol=1e-6)
    assert np.isnan(sample.target.depth_HW[~ball.mask_HW]).all()
    assert np.allclose(sample.input.intrinsics, ball.K)


@pytest.mark.usefixtures("as_npz")
@pytest.mark.parametrize("sign", [(1, 1, 1), (1, -1, -1), (-1, 1, 1)])
def test_axis_signs_are_measured_against_the_depth(
    tmp_path: Path, sphere: ModuleType, sign: tuple[int, int, int]
) -> None:
    write(tmp_path, sphere, [0], sign=np.array(sign, np.float32))
    adapter = opened(tmp_path, "normal")
    ball, target = sphere.perspective(), adapter[0].target
    assert adapter.sign == sign
    assert np.allclose(target.normals_HW3[ball.mask_HW], ball.normals_HW3[ball.mask_HW], atol=1e-6)
    assert str(sign) in adapter.notes[0]


@pytest.mark.usefixtures("as_npz")
def test_normals_of_another_surface_are_refused(tmp_path: Path, sphere: ModuleType) -> None:
    write(tmp_path, sphere, [0])
    noise = np.random.default_rng(0).standard_normal((3, 120, 160)).astype(np.float32)
    npz_exr(tmp_path / "normal_0000000.exr", dict(zip("XYZ", noise, strict=True)))
    with pytest.raises(DatasetRejected, match="degrees at best"):
        opened(tmp_path, "normal")


@pytest.mark.usefixtures("as_npz")
def test_the_held_out_rule_picks_every_thousandth_id_and_framings_are_ranges(
    tmp_path: Path, sphere: ModuleType
) -> None:
    write(tmp_path, sphere, [0, 1, 999, 2000, 98_000, 99_000, 199_000, 297_001])
    assert [k[-7:] for k in opened(tmp_path, "depth").keys] == ["0000000", "0002000", "0098000", "0099000", "0199000"]
    assert [k[-7:] for k in opened(tmp_path, "depth-face").keys] == ["0000000", "0002000", "0098000"]
    assert [k[-7:] for k in opened(tmp_path, "depth-full").keys] == ["0099000"]
    assert [k[-7:] for k in opened(tmp_path, "depth-upper").keys] == ["0199000"]


def test_the_rule_gives_the_299_ids_of_the_card() -> None:
    ids = [i for r in synthhuman.FRAMINGS.values() for i in r if i % 1000 == 0]
    assert len(ids) == 299
    assert sum(len(r) for r in synthhuman.FRAMINGS.values()) == 298_008
    assert "299 of 298,008" in CARD.notes


@pytest.mark.usefixtures("as_npz")
def test_none_of_the_ids_is_missing_data(tmp_path: Path, sphere: ModuleType) -> None:
    write(tmp_path, sphere, [5])
    with pytest.raises(DataMissing, match="none of the held-out pictures"):
        opened(tmp_path, "depth")


def test_without_the_extra_the_user_is_told_what_to_install(
    tmp_path: Path, sphere: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, sphere, [0])
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    with pytest.raises(DataMissing, match=r"pip install 'sapiens-vision-bench\[exr\]'"):
        opened(tmp_path, "normal")
    with pytest.raises(DataMissing, match="exr"):
        opened(tmp_path, "depth")


def test_real_exr_files_read_the_same(tmp_path: Path, sphere: ModuleType) -> None:
    pytest.importorskip("OpenEXR")
    write(tmp_path, sphere, [0], real_exr)
    ball = sphere.perspective()
    depth, normals = opened(tmp_path, "depth")[0].target, opened(tmp_path, "normal")[0].target
    assert np.allclose(depth.depth_HW[ball.mask_HW], ball.depth_HW[ball.mask_HW], rtol=1e-6)
    assert np.allclose(normals.normals_HW3[ball.mask_HW], ball.normals_HW3[ball.mask_HW], atol=1e-6)


@pytest.mark.usefixtures("as_npz")
def test_chunks_may_lie_in_folders_of_their_own(tmp_path: Path, sphere: ModuleType) -> None:
    for chunk, ids in (("SynthHuman_0000", [0, 1000]), ("SynthHuman_0020", [100_000])):
        (tmp_path / chunk).mkdir()
        write(tmp_path / chunk, sphere, ids)
    adapter = opened(tmp_path, "depth")
    assert [k[-7:] for k in adapter.keys] == ["0000000", "0001000", "0100000"]
    assert adapter[2].target.mask_HW.any()
    assert dataset_root(CARD, tmp_path) == tmp_path
    before = adapter.identity(2)
    (tmp_path / "SynthHuman_0020/cam_0100000.txt").write_text("gone")
    assert adapter.identity(2) != before
    write(tmp_path, sphere, [0])
    with pytest.raises(DatasetRejected, match=r"rgb_0000000\.png lies in"):
        opened(tmp_path, "depth")
