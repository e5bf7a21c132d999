"""Person detectors with tiny random networks: preparation, selection, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from sapiens_bench.cards.catalog import DetectorEntry
from sapiens_bench.cards.schema import DetectorCard, Get, Licence, Variant, Weights
from sapiens_bench.errors import CardError, CheckpointRejected, UnknownName
from sapiens_bench.models.detectors import Detections, DetectorContext, RtDetr, build_detector, detector_options, select

TINY_RCNN = {"architecture": "fasterrcnn_mobilenet_v3_large_320_fpn", "min_size": 96, "max_size": 128}


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    torch.set_num_threads(1)
    import tiny_detectors

    return SimpleNamespace(rtdetr=tiny_detectors.write_rtdetr, rcnn=tiny_detectors.write_rcnn)


def context(wrapper: str, path: Path, **options: Any) -> DetectorContext:
    weights = Weights(file=path.name, format="pth", sha256=None, get=Get(how="fixture"))
    variant = Variant(id="tiny", title="tiny", weights=weights)
    card = DetectorCard(
        schema="detector/1", id="tiny-family", title="tiny", licence=Licence(name="none"), wrapper=wrapper,
        trained_on="nothing", variants=(variant,),
    )  # fmt: skip
    entry = DetectorEntry(card, variant)
    return DetectorContext(entry, path, "cpu", detector_options(entry, options))


def picture(h: int = 100, w: int = 150) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (h, w, 3), np.uint8)


def test_rtdetr_equals_the_post_processing_of_its_own_library(fakes: SimpleNamespace, tmp_path: Path) -> None:
    from PIL import Image
    from transformers import RTDetrForObjectDetection, RTDetrImageProcessor

    folder = fakes.rtdetr(tmp_path / "tiny")
    image = picture()
    boxes, scores = build_detector(context("rtdetr", folder, score_threshold=0.3))(image)
    net = RTDetrForObjectDetection.from_pretrained(folder).eval()
    small = np.asarray(Image.fromarray(image).resize((640, 640), Image.Resampling.BILINEAR), np.float32) / 255
    with torch.inference_mode():
        out = net(torch.from_numpy(small.transpose(2, 0, 1)[None]))
    (theirs,) = RTDetrImageProcessor().post_process_object_detection(out, threshold=0.3, target_sizes=[(100, 150)])
    people = theirs["labels"].numpy() == 1  # the tiny configuration puts people second
    assert 0 < people.sum() < len(people)
    order = np.argsort(-theirs["scores"].numpy()[people], kind="stable")
    np.testing.assert_allclose(scores, theirs["scores"].numpy()[people][order], atol=1e-5)
    np.testing.assert_allclose(boxes, theirs["boxes"].numpy()[people][order], atol=1e-3)


def test_torchvision_equals_the_library_and_keeps_people_only(fakes: SimpleNamespace, tmp_path: Path) -> None:
    path, net = fakes.rcnn(tmp_path / "rcnn.pth", **TINY_RCNN)
    image = picture()
    boxes, scores = build_detector(context("torchvision", path, **TINY_RCNN, classes=3, person=2))(image)
    with torch.inference_mode():
        out = net([torch.from_numpy(image.transpose(2, 0, 1)).float() / 255])[0]
    people = out["labels"].numpy() == 2
    assert 0 < people.sum() < len(people)
    order = np.lexsort((*out["boxes"].numpy()[people].T[::-1], -out["scores"].numpy()[people]))
    np.testing.assert_array_equal(scores, out["scores"].numpy()[people][order])
    np.testing.assert_array_equal(boxes, out["boxes"].numpy()[people][order])


def test_boxes_are_chosen_by_score_then_place_and_impossible_ones_are_dropped() -> None:
    boxes = np.array([[9, 0, 12, 5], [0, 0, 4, 4], [5, 5, 5, 9], [0, 0, np.nan, 2], [1, 1, 2, 2]], np.float32)
    scores = np.array([0.5, 0.5, 0.9, 0.8, 0.1], np.float32)
    found = select(Detections(boxes, scores), threshold=0.1, limit=10)
    assert found.boxes_xyxy_px_N4.tolist() == [[0, 0, 4, 4], [9, 0, 12, 5]]
    assert select(Detections(boxes, scores), 0.0, 1).scores_N.tolist() == [0.5]
    nobody = select(Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32)), 0.0, 5)
    assert nobody.boxes_xyxy_px_N4.shape == (0, 4)


def test_a_damaged_model_folder_is_refused_with_a_reason(fakes: SimpleNamespace, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = fakes.rtdetr(tmp_path / "tiny")
    file = folder / "model.safetensors"
    state = load_file(file)
    name = next(n for n in state if n.endswith("weight"))
    save_file({n: t for n, t in state.items() if n != name}, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointRejected, match="1 missing keys"):
        RtDetr(context("rtdetr", folder))
    save_file({**state, name: torch.full_like(state[name], float("nan"))}, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointRejected, match="NaN"):
        RtDetr(context("rtdetr", folder))
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(CheckpointRejected, match="cannot be loaded as RTDetr"):
        RtDetr(context("rtdetr", folder))
    os.remove(file)
    torch.save(state, folder / "pytorch_model.bin")  # a pickle is not opened, whatever is in it
    with pytest.raises(CheckpointRejected, match="cannot be loaded as RTDetr"):
        RtDetr(context("rtdetr", folder))


def test_a_folder_without_a_person_class_is_refused(fakes: SimpleNamespace, tmp_path: Path) -> None:
    folder = fakes.rtdetr(tmp_path / "tiny", labels={0: "cat", 1: "dog"})
    with pytest.raises(CheckpointRejected, match="no class 'person'"):
        RtDetr(context("rtdetr", folder))


def test_torchvision_weights_of_another_network_are_refused(fakes: SimpleNamespace, tmp_path: Path) -> None:
    path, _ = fakes.rcnn(tmp_path / "rcnn.pth", **TINY_RCNN)
    with pytest.raises(CheckpointRejected, match="does not fit torchvision's"):
        build_detector(context("torchvision", path, **TINY_RCNN, classes=5))


@pytest.mark.parametrize(
    ("wrapper", "options", "error"),
    [
        ("yolo", {}, UnknownName),
        ("rtdetr", {"threshold": 0.3}, CardError),
        ("rtdetr", {"score_threshold": "high"}, CardError),
        ("torchvision", {"architecture": "resnet50"}, UnknownName),
    ],
)
def test_wrong_cards_are_named(tmp_path: Path, wrapper: str, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        build_detector(context(wrapper, tmp_path, **options))
