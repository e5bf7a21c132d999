"""DWPose, RTMPose, RTMW: top-down SimCC networks from ONNX files, run by ONNX Runtime.

SimCC answers with one vector per keypoint and axis, ``split_ratio`` bins per crop pixel; the keypoint lies at the two
maxima. The crop is the older three-point one (no UDP), in RGB: two public demos feed BGR to the same files, which
changes every output.

Source: specification of the baselines, section 2.2; goldens made by MMPose 1.x (``get_simcc_maximum``,
``flip_vectors``) and rtmlib. Axes: B crops, K keypoints, X and Y bins.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sapiens_bench.cards.schema import InputSpec
from sapiens_bench.errors import CardError, CheckpointRejected, DeviceError, WeightsMissing
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.parts.checkpoints import sniff
from sapiens_bench.pixels.affine import box_to_center_scale, classic_matrix, warp
from sapiens_bench.tasks.pose.types import PosePrediction
from sapiens_bench.types import ModelInput, Prepared

PADDING = 1.25
OPTIONS = ("split_ratio", "score", "flip_test")
MAX_THREADS = 4  # more do not help crops of this size, and several runs may share a machine
ScoreRule = Literal["min", "mean"]


class Peaks(NamedTuple):
    """Decoded vectors."""

    xy_BK2: NDArray[np.float32]  # bins; (-1, -1) where the score is not positive
    score_BK: NDArray[np.float32]


def decode(x_BKX: NDArray[np.floating[Any]], y_BKY: NDArray[np.floating[Any]], score: ScoreRule = "min") -> Peaks:
    """First maxima of both vectors; the score is the smaller maximum (the authors' rule) or their mean (rtmlib's).

    Under "min" a keypoint whose score is not positive lies at (-1, -1), as in MMPose; under "mean" rtmlib's test is
    kept, too, which looks at the mean.
    """
    x, y = np.asarray(x_BKX, np.float32), np.asarray(y_BKY, np.float32)
    best_x, best_y = x.max(axis=2), y.max(axis=2)
    value = np.minimum(best_x, best_y) if score == "min" else (best_x + best_y) * np.float32(0.5)
    xy = np.stack([x.argmax(axis=2), y.argmax(axis=2)], axis=2).astype(np.float32)
    xy[value <= 0] = -1.0
    return Peaks(xy, value.astype(np.float32))


def merge_flipped(
    plain: tuple[NDArray[np.float32], NDArray[np.float32]],
    mirrored: tuple[NDArray[np.float32], NDArray[np.float32]],
    flip_index: NDArray[Any],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean of the (x, y) vectors and those of the mirrored crop: keypoints swapped, x mirrored back."""
    x = (plain[0] + mirrored[0][:, flip_index, ::-1]) * np.float32(0.5)
    y = (plain[1] + mirrored[1][:, flip_index]) * np.float32(0.5)
    return x, y


def to_image_space(
    bins_K2: NDArray[np.floating[Any]],
    split_ratio: float,
    input_wh: tuple[int, int],
    center_2: NDArray[Any],
    scale_2: NDArray[Any],
) -> NDArray[np.float64]:
    """Bins -> image pixels for a box given by centre and padded, aspect-fixed scale."""
    in_input = np.asarray(bins_K2, np.float64) / split_ratio
    return np.asarray(in_input / np.array(input_wh) * scale_2 + center_2 - 0.5 * np.asarray(scale_2))


class SimccSession:
    """An ONNX file with one image input and two vector outputs, checked against what the card says.

    Raises:
        CheckpointRejected: no ONNX file, another kind of network, or another input size or number of keypoints.
    """

    def __init__(
        self, path: Path, input_wh: tuple[int, int], n_keypoints: int, split_ratio: float, device: str
    ) -> None:
        self.path, self.input_wh, self.n_keypoints, self.split_ratio = path, input_wh, n_keypoints, split_ratio
        self.session = open_onnx(path, device)
        inputs = self.session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type != "tensor(float)":
            found = ", ".join(f"{i.name}: {i.type} {i.shape}" for i in inputs)
            raise CheckpointRejected(f"{path}: one float image input [batch, 3, H, W] was expected, it takes {found}.")
        self.input_name = inputs[0].name
        batch, _, height, width = inputs[0].shape
        sides = ((height, input_wh[1]), (width, input_wh[0]))
        if any(isinstance(found, int) and found != wanted for found, wanted in sides):
            raise CheckpointRejected(
                f"{path} takes {height} x {width} (height x width), the card says {input_wh[1]} x {input_wh[0]}. "
                "It is the file of another variant, or the card is wrong."
            )
        self.outputs = self._output_names()
        self.batch = batch if isinstance(batch, int) and batch > 0 else None  # None: any
        self._try_out()

    def _output_names(self) -> list[str]:
        names = [o.name for o in self.session.get_outputs()]
        if {"simcc_x", "simcc_y"} <= set(names):
            return ["simcc_x", "simcc_y"]
        if len(names) == 2:
            return names
        raise CheckpointRejected(
            f"{self.path}: SimCC networks answer with simcc_x and simcc_y, this one with {', '.join(names)}."
        )

    def _try_out(self) -> None:
        """Run on black crops: shapes are checked before any picture is, and a batch size of two is tried."""
        width, height = self.input_wh
        if self.batch is None:
            try:
                x, _ = self._run(np.zeros((2, 3, height, width), np.float32))
                self.batch = None if len(x) == 2 else 1
            except CheckpointRejected:  # declared free and yet fixed somewhere inside
                self.batch = 1
        x, y = self._run(np.zeros((self.batch or 1, 3, height, width), np.float32))
        wanted = [(self.batch or 1, self.n_keypoints, round(side * self.split_ratio)) for side in (width, height)]
        if [x.shape, y.shape] != wanted:
            raise CheckpointRejected(
                f"{self.path} answers with {x.shape} and {y.shape}; {self.n_keypoints} keypoints and "
                f"{self.split_ratio:g} bins per pixel need {wanted[0]} and {wanted[1]}."
            )

    def _run(self, images: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        try:
            x, y = self.session.run(self.outputs, {self.input_name: images})
        except Exception as error:  # ONNX Runtime's exceptions have no common class of their own
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CheckpointRejected(f"{self.path} cannot be run ({reason[:200]}).") from None
        return np.asarray(x, np.float32), np.asarray(y, np.float32)

    def __call__(self, images: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Normalised crops [B, 3, H, W] -> vectors [B, K, X] and [B, K, Y]; in parts where the batch size is fixed."""
        if self.batch is None:
            return self._run(images)
        parts = []
        for start in range(0, len(images), self.batch):
            part = images[start : start + self.batch]
            missing = self.batch - len(part)
            full = np.concatenate([part, np.zeros((missing, *part.shape[1:]), np.float32)]) if missing else part
            x, y = self._run(full)
            parts.append((x[: len(part)], y[: len(part)]))
        return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


def open_onnx(path: Path, device: str) -> Any:
    """An inference session; on the GPU when the device is one and this ONNX Runtime can, else on the CPU.

    Raises:
        CheckpointRejected: not an ONNX file; says what it looks like.
    """
    import onnxruntime

    _refuse_others(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = max(1, min(MAX_THREADS, torch.get_num_threads(), os.cpu_count() or 1))
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors; what fails is raised
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.startswith("cuda") and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        number = int(device.partition(":")[2] or 0)
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": number}))
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # see SimccSession._run
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointRejected(
            f"{path} is no ONNX file, or a damaged one ({reason[:160]}). Fetch it again."
        ) from None


def _refuse_others(path: Path) -> None:
    """An ONNX file has no signature; files that do have one are named for what they are.

    Raises:
        CheckpointRejected: empty, a web page, a Git LFS pointer, or weights in a torch format.
    """
    try:
        kind = sniff(path)
    except CheckpointRejected as error:
        if "no weight file that we know" in str(error):
            return  # no torch format: for ONNX Runtime to judge
        if "archive without a torch checkpoint" in str(error):
            raise CheckpointRejected(
                f"{path} is a zip archive. Unzip it and give the end2end.onnx that lies inside."
            ) from None
        raise
    raise CheckpointRejected(f"{path} is a {kind} file, but this card needs ONNX. Export the network to ONNX first.")


class Simcc:
    """The wrapper. Options: ``split_ratio`` (2.0), ``score`` ("min" or "mean"), ``flip_test`` (false).

    It runs on the CPU unless an ONNX Runtime with CUDA is installed; outputs are CPU tensors either way.
    """

    def __init__(self, context: ModelContext) -> None:
        name, options = context.variant.id, context.options
        if unknown := sorted(set(options) - set(OPTIONS)):
            raise CardError(f"{name} has no option {unknown[0]!r}. Known: {', '.join(OPTIONS)}.")
        spec: InputSpec | None = context.variant.input or context.card.input
        if spec is None or context.space is None or not context.space.flip_index:
            raise CardError(f"{name}: a SimCC card needs 'input' and a keypoint space with flip_index.")
        if context.precision != "fp32":
            raise DeviceError(f"{name}: an ONNX file runs in the precision of its export, not in {context.precision}.")
        if context.weights is None:
            raise WeightsMissing(f"{name}: its ONNX file is not on this machine.")
        self.split_ratio = _positive(name, "split_ratio", options.get("split_ratio", 2.0))
        self.score = _score_rule(name, options.get("score", "min"))
        flip_test = options.get("flip_test", False)
        if not isinstance(flip_test, bool):
            raise CardError(f"{name}: option flip_test is {flip_test!r}, expected true or false.")
        self.flip_test = flip_test
        self.flip_index = np.asarray(context.space.flip_index)
        self.input_wh = (spec.width, spec.height)
        self.is_bgr = spec.channel_order == "bgr"
        self.mean, self.std = (np.asarray(v, np.float32).reshape(1, 3, 1, 1) for v in (spec.mean, spec.std))
        n_keypoints = len(context.space.names)
        self.session = SimccSession(context.weights, self.input_wh, n_keypoints, self.split_ratio, context.device)

    def prepare(self, x: ModelInput) -> Prepared:
        """``crop``: uint8 RGB [N, 3, H, W]; zeros where the padded box leaves the image."""
        width, height = self.input_wh
        center, scale = box_to_center_scale(x.boxes_xyxy_px, padding=PADDING, aspect=width / height)
        crops = np.empty((len(center), 3, height, width), np.uint8)
        for i in range(len(center)):
            crop = warp(x.image_HW3, classic_matrix(center[i], scale[i], self.input_wh), self.input_wh)
            crops[i] = crop.transpose(2, 0, 1)
        return Prepared({"crop": crops}, (center, scale, x.boxes_xyxy_px, x.box_scores))

    def vectors(self, crop_B3HW: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """RGB crops -> SimCC vectors, with the flip test if it is on."""
        image = crop_B3HW[:, ::-1] if self.is_bgr else crop_B3HW
        images = np.ascontiguousarray((image.astype(np.float32) - self.mean) / self.std)
        plain = self.session(images)
        if not self.flip_test:
            return plain
        return merge_flipped(plain, self.session(np.ascontiguousarray(images[..., ::-1])), self.flip_index)

    def forward(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """``bins``: float32 [B, K, 2]; ``score``: float32 [B, K]; both on the CPU."""
        found = decode(*self.vectors(tensors["crop"].cpu().numpy()), self.score)
        return {"bins": torch.from_numpy(found.xy_BK2), "score": torch.from_numpy(found.score_BK)}

    def finish(self, outputs: dict[str, NDArray[Any]], geometry: Any) -> PosePrediction:
        center, scale, boxes, box_scores = geometry
        n, k = len(boxes), len(self.flip_index)
        keypoints = np.zeros((n, k, 2), np.float32)
        for i in range(n):
            keypoints[i] = to_image_space(outputs["bins"][i], self.split_ratio, self.input_wh, center[i], scale[i])
        scores = outputs["score"].astype(np.float32) if n else np.zeros((0, k), np.float32)
        return PosePrediction(keypoints, scores, np.asarray(box_scores, np.float32), np.asarray(boxes, np.float32))


def _positive(name: str, option: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < np.inf:
        raise CardError(f"{name}: option {option} is {value!r}, expected a positive number.")
    return float(value)


def _score_rule(name: str, value: object) -> ScoreRule:
    if value in ("min", "mean"):
        return value
    raise CardError(f"{name}: option score is {value!r}, expected 'min' or 'mean'.")
