"""The hand and face networks: parity with their own runtime, and that the shipped files are what the converter makes.

``landmark_networks.json`` holds what LiteRT gives for ``landmark_pattern``; made once, with LiteRT 2.3.0.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from sapiens_bench.models.parts.graph import Graph, load_graph

EMBEDDED = Path(__file__).resolve().parents[2] / "sapiens_bench" / "embedded"
TOLERANCE = {"landmarks": 2e-3, "presence": 1e-6, "handedness": 1e-4, "world": 1e-5, "presence_logit": 1e-4}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def landmark_pattern(side: int) -> NDArray[np.uint8]:
    """Coloured waves [side, side, 3]; rounding leaves the same numbers on every machine."""
    y, x = np.mgrid[0:side, 0:side]
    directions = ((1, 2, 0.3), (3, -1, 1.1), (2, 5, 2.0))
    waves = np.stack([np.sin((x * a + y * b) / side * 2 * np.pi + phase) for a, b, phase in directions], 2)
    pattern = np.round(127.5 + 80 * waves + 40 * np.roll(waves, 1, 2)).clip(0, 255)
    return np.asarray(pattern, np.uint8)


@pytest.mark.parametrize("name", ["hand_landmark", "face_landmark"])
def test_outputs_equal_those_of_its_own_runtime(name: str) -> None:
    wanted = json.loads((Path(__file__).parent / "landmark_networks.json").read_text())[name]
    network = load_graph(EMBEDDED / f"{name}.safetensors")
    x = torch.from_numpy(landmark_pattern(network.input_size))[None].permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        found = {key: value.numpy().reshape(-1) for key, value in network(x).items()}
    assert found.keys() == wanted.keys()
    for key, values in wanted.items():
        np.testing.assert_allclose(found[key], values, rtol=0, atol=TOLERANCE[key], err_msg=key)
    assert np.ptp(wanted["landmarks"]) > 50  # the pattern moves the points; equality is not that of two constants


@pytest.mark.parametrize("name", ["hand_landmark", "face_landmark"])
def test_shipped_file_is_what_the_converter_makes(name: str, shared: Path) -> None:
    pytest.importorskip("tflite")
    import convert_embedded

    made = convert_embedded.convert(name, shared / "data" / "embedded_models")
    assert made == (EMBEDDED / f"{name}.safetensors").read_bytes()


def test_prelu_of_a_description_has_one_slope_a_channel() -> None:
    description = {
        "format": "sapiens-bench-graph/1", "name": "tiny", "input": {"size": 4}, "outputs": {"y": "v1"}, "taps": {},
        "ops": [{"op": "prelu", "in": ["v0"], "out": "v1", "weight": "w"}],
    }  # fmt: skip
    slopes = torch.tensor([0.5, -1.0, 2.0])
    x = torch.linspace(-3, 3, 48).view(1, 3, 4, 4)
    found = Graph(description, {"w": slopes})(x)["y"]
    expected = torch.where(x >= 0, x, x * slopes.view(1, 3, 1, 1))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found, F.prelu(x, slopes))
