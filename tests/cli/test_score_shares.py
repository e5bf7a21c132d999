"""Folders of mattes and of albedo, scored as typed; what has to be said, and what cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sapiens_bench.adapters.dense.export import export_folder
from sapiens_bench.pixels.png import encode_png
from sapiens_bench.report.tables import build
from sapiens_bench.store.record import CellRecord, read_run
from sapiens_bench.tasks.matting.types import MattingTarget
from sapiens_bench.types import ModelInput, Sample

Call = Callable[..., tuple[int, str, str]]
rng = np.random.default_rng(5)


class Samples(list[Sample]):
    """As much of an adapter as an export asks for."""

    @property
    def keys(self) -> list[str]:
        return [sample.key for sample in self]


@pytest.fixture
def scored(call: Call, tmp_path: Path) -> Callable[..., CellRecord]:
    def run(task: str, truth: Path, preds: Path, *more: str, code: int = 0) -> CellRecord:
        out = tmp_path / f"run{len(list(tmp_path.glob('run*')))}"
        found, printed, said = call("score", "--task", task, "--truth", truth, preds, "--out", out, *more)
        assert found == code, printed + said
        return read_run(out).cells[0]

    return run


def pictures(folder: Path, **arrays: Any) -> Path:
    folder.mkdir(parents=True)
    for name, array in arrays.items():
        (folder / f"{name}.png").write_bytes(encode_png(np.asarray(array)))
    return folder


def mattes() -> dict[str, Any]:
    alpha = np.zeros((24, 30), np.uint8)
    alpha[5:20, 6:25], alpha[5:20, 6] = 255, 128
    return {"a": alpha, "b": alpha[:, ::-1]}


def test_mattes_of_eight_bits_against_mattes_of_sixteen(tmp_path: Path, scored: Callable[..., CellRecord]) -> None:
    truth = pictures(tmp_path / "gt" / "alphas", **mattes())
    deep = {name: alpha.astype(np.uint16) * 257 for name, alpha in mattes().items()}
    same = scored("matting", truth.parent, pictures(tmp_path / "mine", **deep))
    assert (same.dataset, same.protocol, same.counts.ok) == ("gt", "whole", 2)
    assert same.scores["matting/sad"].value == 0
    black = pictures(tmp_path / "black", **{name: 0 * alpha for name, alpha in mattes().items()})
    wrong = scored("matting", truth, black)
    assert wrong.scores["matting/sad"].value == pytest.approx((15 * 18 + 15 * 128 / 255) / 1000, rel=1e-6)


def test_a_trimap_beside_the_truth_says_where_errors_count(tmp_path: Path, scored: Callable[..., CellRecord]) -> None:
    truth = tmp_path / "gt"
    pictures(truth / "alphas", **mattes())
    trimap = np.zeros((24, 30), np.uint8)
    trimap[0] = 128
    pictures(truth / "trimaps", a=trimap, b=trimap)
    full = pictures(tmp_path / "full", **{name: np.full_like(alpha, 255) for name, alpha in mattes().items()})
    cell = scored("matting", truth, full, "--protocol", "unknown")
    assert cell.scores["matting/sad"].value == pytest.approx(0.030)
    assert cell.scores["matting/mse"].value == 1


@pytest.mark.parametrize(
    ("people", "unknown", "error"),
    [(255, 128, 0.030), (255, 1, 0.030), (2, 1, 0.030), (0, 1, 0.030), (0, 128, 0.030)],
)
def test_a_trimap_is_coded_in_grey_values_or_in_three_classes(
    tmp_path: Path, scored: Callable[..., CellRecord], people: int, unknown: int, error: float
) -> None:
    truth = tmp_path / "gt"
    pictures(truth / "alphas", **mattes())
    trimap = np.full((24, 30), people, np.uint8)
    trimap[0] = unknown
    pictures(truth / "trimaps", a=trimap, b=trimap)
    full = pictures(tmp_path / "full", **{name: np.full_like(alpha, 255) for name, alpha in mattes().items()})
    cell = scored("matting", truth, full, "--protocol", "unknown")
    assert cell.scores["matting/sad"].value == pytest.approx(error)


def test_an_export_keeps_what_a_trimap_leaves_open(tmp_path: Path, scored: Callable[..., CellRecord]) -> None:
    alpha, unknown = mattes()["a"] / np.float32(255), np.zeros((24, 30), bool)
    unknown[:, 6], unknown[0] = True, True
    given = ModelInput("a", np.zeros((24, 30, 3), np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    samples = [Sample(0, "set/a", "g", given, MattingTarget(alpha, unknown))]
    export_folder(Samples(samples), tmp_path / "out")
    trimap = np.asarray(Image.open(tmp_path / "out" / "trimaps" / "set_a.png"))
    assert np.array_equal(trimap, np.where(unknown, 128, 255 * (alpha > 0.5)))
    full = pictures(tmp_path / "full", set_a=np.full((24, 30), 255, np.uint8))
    cell = scored("matting", tmp_path / "out", full, "--protocol", "unknown")
    assert cell.scores["matting/sad"].value == pytest.approx((1 - alpha)[unknown].sum() / 1000, rel=1e-5)


def test_trimaps_that_no_score_looks_at_refuse_nothing(tmp_path: Path, scored: Callable[..., CellRecord]) -> None:
    truth = tmp_path / "gt"
    pictures(truth / "alphas", **mattes())
    pictures(truth / "trimaps", a=np.arange(24 * 30).reshape(24, 30).astype(np.uint8))  # of "a" alone, and no trimap
    preds = pictures(tmp_path / "mine", **mattes())
    assert scored("matting", truth, preds).counts.ok == 2
    asked = scored("matting", truth, preds, "--protocol", "unknown", code=3)
    assert asked.counts.input_errors == 2


def test_an_unknown_region_that_no_trimap_gives_is_said_to_be_made(call: Call, tmp_path: Path) -> None:
    truth, preds = pictures(tmp_path / "gt", **mattes()), pictures(tmp_path / "mine", **mattes())
    args = ("score", "--task", "matting", "--truth", truth, preds, "--out", tmp_path / "run", "--protocol", "unknown")
    code, printed, said = call(*args)
    assert code == 0
    assert "the unknown region is made of the truth" in " ".join((printed + said).split())


def test_a_picture_with_an_alpha_channel_is_asked_about(tmp_path: Path, scored: Callable[..., CellRecord]) -> None:
    truth = pictures(tmp_path / "gt", **mattes())
    cut = tmp_path / "cut"
    cut.mkdir()
    for name, alpha in mattes().items():
        grey = np.full((24, 30), 77, np.uint8)
        Image.fromarray(np.dstack([grey, grey, grey, alpha])).save(cut / f"{name}.png")
    refused = scored("matting", truth, cut, code=3)
    assert "channel=alpha" in refused.causes[0].detail
    assert scored("matting", truth, cut, "--option", "channel=alpha").scores["matting/sad"].value == 0


def test_arrays_are_mattes_also_where_the_alpha_channel_is_asked_for(
    tmp_path: Path, scored: Callable[..., CellRecord]
) -> None:
    truth, arrays = pictures(tmp_path / "gt", **mattes()), tmp_path / "arrays"
    arrays.mkdir()
    for name, alpha in mattes().items():
        np.save(arrays / f"{name}.npy", alpha)
    assert scored("matting", truth, arrays, "--option", "channel=alpha").scores["matting/sad"].value == 0


def test_the_alpha_of_a_predicted_albedo_changes_nothing(tmp_path: Path, scored: Callable[..., CellRecord]) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (24, 30, 3)).astype(np.uint8)
    truth, cut = pictures(tmp_path / "gt", a=colours), tmp_path / "cut"
    cut.mkdir()
    Image.fromarray(np.dstack([colours, mattes()["a"]])).save(cut / "a.png")
    space = ("--data-option", "colour_space=srgb", "--option", "colour_space=srgb")
    assert scored("albedo", truth, cut, *space).scores["albedo/mae"].value == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("top", "kind", "factor"), [(1, np.uint8, 255), (1, np.uint16, 65535), (255, np.uint16, 257)])
def test_a_matte_whose_whole_numbers_stop_early_is_no_empty_matte(
    tmp_path: Path, scored: Callable[..., CellRecord], top: int, kind: Any, factor: int
) -> None:
    short = {name: (alpha > 200).astype(kind) * top for name, alpha in mattes().items()}
    as_truth = scored("matting", pictures(tmp_path / "gt1", **short), pictures(tmp_path / "p", **mattes()), code=3)
    assert (as_truth.counts.ok, as_truth.causes[0].kind) == (0, "label.value")
    as_results = scored("matting", tmp_path / "p", tmp_path / "gt1", code=3)
    assert as_results.causes[0].kind == "pred.range"
    assert f"multiply by {factor}" in as_results.causes[0].detail


def test_the_noise_of_an_empty_matte_is_scored(tmp_path: Path, scored: Callable[..., CellRecord]) -> None:
    empty, noise = np.zeros((24, 30), np.uint8), np.zeros((24, 30), np.uint8)
    noise[3, :5] = 1
    cell = scored("matting", pictures(tmp_path / "gt", a=empty), pictures(tmp_path / "mine", a=noise))
    assert cell.scores["matting/sad"].value == pytest.approx(5 / 255 / 1000, rel=1e-6)


def test_a_sample_without_a_matte_names_every_ending_that_is_read(
    tmp_path: Path, scored: Callable[..., CellRecord]
) -> None:
    truth = pictures(tmp_path / "gt", **mattes())
    cell = scored("matting", truth, pictures(tmp_path / "mine", a=mattes()["a"]), code=3)
    assert "no file b.npy (or .npz, .exr, .png, .jpg, " in cell.causes[0].detail


def test_mattes_of_another_size_are_resized_only_when_asked(tmp_path: Path, scored: Callable[..., CellRecord]) -> None:
    truth = pictures(tmp_path / "gt", a=np.full((24, 30), 255, np.uint8))
    half = pictures(tmp_path / "half", a=np.full((12, 15), 255, np.uint8))
    assert scored("matting", truth, half, code=3).causes[0].kind == "pred.shape"
    assert scored("matting", truth, half, "--resize", "bilinear").scores["matting/sad"].value == 0


def colours() -> dict[str, Any]:
    return {"a": rng.integers(20, 200, (26, 24, 3)).astype(np.uint8)}


def test_the_colour_space_of_albedo_is_asked_for_on_both_sides(tmp_path: Path, call: Call) -> None:
    found = colours()
    truth, preds = pictures(tmp_path / "gt", **found), pictures(tmp_path / "mine", **found)
    code, _, said = call("score", "--task", "albedo", "--truth", truth, preds, "--out", tmp_path / "run")
    assert code == 2
    assert "colour_space" in said
    args = ("score", "--task", "albedo", "--truth", truth, preds, "--out", tmp_path / "run")
    code, _, said = call(*args, "--option", "colour_space=srgb")
    assert code == 2
    assert "--data-option colour_space=srgb" in said


def test_a_colour_space_that_is_none_is_refused_in_one_line(tmp_path: Path, call: Call) -> None:
    truth = pictures(tmp_path / "gt", **colours())
    said = ("--data-option", "colour_space=rgb", "--option", "colour_space=srgb", "--out", tmp_path / "run")
    code, _, err = call("score", "--task", "albedo", "--truth", truth, truth, *said)
    assert code == 2
    assert err.count("colour_space") == 1
    assert "option 'colour_space': Input should be 'srgb' or 'linear' (found 'rgb')" in err


def test_albedo_of_linear_arrays_against_srgb_pictures(tmp_path: Path, scored: Callable[..., CellRecord]) -> None:
    found = colours()
    truth = pictures(tmp_path / "gt" / "albedos", **found).parent
    mask = np.zeros((26, 24), np.uint8)
    mask[4:20, 3:20] = 255
    pictures(truth / "masks", a=mask)
    coded = found["a"] / 255
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    preds = tmp_path / "mine"
    preds.mkdir()
    np.save(preds / "a_albedo.npy", np.where(mask[..., None] > 0, linear, 0.9).astype(np.float32))
    said = ("--data-option", "colour_space=srgb", "--option", "colour_space=linear")
    cell = scored("albedo", truth, preds, *said)
    remarks = build(read_run(next(tmp_path.glob("run*")))).blocks[0].remarks
    assert "Said of the files: colour_space=srgb." in remarks  # nobody else could say it: no protocol was changed
    assert not any("not comparable" in remark for remark in remarks)
    assert cell.scores["albedo/mae"].value < 1e-6
    assert cell.scores["albedo/psnr"].value == 100
    off = scored("albedo", truth, preds, *said[:3], "colour_space=srgb")
    assert off.scores["albedo/mae"].value > 0.1


def test_what_a_cut_out_left_transparent_has_no_albedo(tmp_path: Path, scored: Callable[..., CellRecord]) -> None:
    found, alpha = colours()["a"], np.zeros((26, 24), np.uint8)
    alpha[4:20, 3:20] = 255
    truth = tmp_path / "gt"
    truth.mkdir()
    Image.fromarray(np.dstack([found, alpha])).save(truth / "a.png")
    preds = pictures(tmp_path / "mine", a=np.where(alpha[..., None] > 0, found, 255 - found))
    said = ("--data-option", "colour_space=srgb", "--option", "colour_space=srgb")
    assert scored("albedo", truth, preds, *said).scores["albedo/mae"].value < 1e-6


def test_an_option_that_the_protocol_says_otherwise_is_a_change_of_it(call: Call, tmp_path: Path) -> None:
    truth = pictures(tmp_path / "gt" / "albedos", **colours()).parent
    pictures(truth / "images", **colours())
    (tmp_path / "mine.yaml").write_text(
        "schema: dataset/1\nid: mine\ntitle: Mine\nlicence: {name: CC0-1.0}\nget: It is mine.\n"
        "adapter: albedo_folder\nprotocols:\n  whole:\n    task: albedo\n    title: Whole\n    default: true\n"
        "    options: {colour_space: linear}\n"
    )
    code, printed, said = call(
        "run", "--task", "albedo", "--dataset", "mine", "--data-root", truth, "--cards", tmp_path / "mine.yaml",
        "--models", "oracle-albedo", "--data-option", "colour_space=srgb", "--out", tmp_path / "run",
    )  # fmt: skip
    assert code == 0, printed + said
    remarks = build(read_run(tmp_path / "run")).blocks[0].remarks
    assert any(remark.startswith("Options over the protocol: colour_space=srgb; not comparable") for remark in remarks)
    assert not any(remark.startswith("Said of the files") for remark in remarks)


def test_mattes_of_the_background_and_trimaps_in_their_place_are_told(call: Call, tmp_path: Path) -> None:
    trimap = np.zeros((24, 30), np.uint8)
    trimap[5:20, 6:25], trimap[8:16, 9:20] = 128, 255
    for name, truth, said in (
        ("fine", mattes(), ""),
        ("inverted", {key: 255 - alpha for key, alpha in mattes().items()}, "high around the picture"),
        ("trimap", {"a": trimap, "b": trimap}, "one value between background and people"),
    ):
        pictures(tmp_path / name / "alphas", **truth)
        preds = pictures(tmp_path / f"{name}-mine", **mattes())
        code, shown, err = call(
            "score", "--task", "matting", "--truth", tmp_path / name, preds, "--out", tmp_path / f"run-{name}"
        )
        assert code == 0, err
        assert ("MATTES IN DOUBT" in shown) is bool(said), shown
        assert said in " ".join(shown.split())
