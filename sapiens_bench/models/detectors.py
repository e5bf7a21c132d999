"""Person detectors: what makes the boxes of a top-down run when no box file is given.

Boxes are x1 y1 x2 y2 in pixels, measured from the picture's edge, as in COCO's files. Axes: N boxes, Q queries,
C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sapiens_bench.cards.catalog import DetectorEntry
from sapiens_bench.errors import CardError, CheckpointRejected, UnknownName, WeightsMissing

PERSON = "person"
OPTIONS: dict[str, Any] = {"score_threshold": 0.05, "max_boxes": 100}  # of every detector; cards may overlay them
_TORCHVISION_OPTIONS: dict[str, Any] = {
    "architecture": "fasterrcnn_resnet50_fpn_v2",
    "classes": 91,
    "person": 1,
    "min_size": 800,
    "max_size": 1333,
}


class Detections(NamedTuple):
    """People of one image, best first."""

    boxes_xyxy_px_N4: NDArray[np.float32]
    scores_N: NDArray[np.float32]


class Detector(Protocol):
    """A person detector on its device. Nothing is thrown away before ``select`` below."""

    def people(self, image_HW3: NDArray[np.uint8]) -> Detections: ...


@dataclass(frozen=True, slots=True)
class DetectorContext:
    """One detector variant, ready to be built."""

    entry: DetectorEntry
    weights: Path  # verified: a folder for transformers, a state-dict file for torchvision
    device: str
    options: Mapping[str, Any]

    def option(self, name: str, defaults: Mapping[str, Any]) -> Any:
        """An option of the card, checked to be of the default's type."""
        value, default = self.options.get(name, defaults[name]), defaults[name]
        is_number = isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool)
        if not is_number and type(value) is not type(default):
            raise CardError(f"{self.entry.variant.id}: option {name} is {value!r}, expected e.g. {default!r}.")
        return value


def build_detector(context: DetectorContext) -> Callable[[NDArray[np.uint8]], Detections]:
    """image -> people above the card's score threshold, at most ``max_boxes``, best first.

    Raises:
        UnknownName: no such wrapper. CardError: unknown option.
        CheckpointRejected, UntrustedCheckpoint: the weights cannot be used.
    """
    card, variant = context.entry.card, context.entry.variant
    if card.wrapper not in DETECTORS:
        raise UnknownName("detector wrapper", card.wrapper, DETECTORS)
    make, own = DETECTORS[card.wrapper]
    known = {**OPTIONS, **own}
    if unknown := sorted(set(context.options) - set(known)):
        raise CardError(f"{variant.id} has no option {unknown[0]!r}. Known: {', '.join(sorted(known))}.")
    threshold, limit = float(context.option("score_threshold", OPTIONS)), int(context.option("max_boxes", OPTIONS))
    detector = make(context)
    return lambda image_HW3: select(detector.people(image_HW3), threshold, limit)


def select(found: Detections, threshold: float, limit: int) -> Detections:
    """Boxes above ``threshold`` that have an extent, the ``limit`` best; ties go by position, so the order is fixed."""
    boxes, scores = found
    keep = (scores > threshold) & (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    keep &= np.isfinite(boxes).all(axis=1)
    boxes, scores = boxes[keep], scores[keep]
    order = np.lexsort((*boxes.T[::-1], -scores))[:limit]
    return Detections(boxes[order], scores[order])


class RtDetr:
    """RT-DETR through transformers: stretched to 640 x 640, divided by 255, no mean or deviation.

    Source: transformers ``RTDetrImageProcessor.post_process_object_detection`` with focal loss: sigmoid of every class
    of every query, the best Q of all of them; of those the people are kept.
    """

    SIZE = 640

    def __init__(self, context: DetectorContext) -> None:
        import torch
        from safetensors import SafetensorError
        from transformers import RTDetrForObjectDetection
        from transformers.utils import logging

        bars: Any = logging
        make: Any = RTDetrForObjectDetection.from_pretrained
        had_bar = logging.is_progress_bar_enabled()
        bars.disable_progress_bar()
        try:
            # safetensors only: a pickle beside it is never opened; code in the folder is never run
            net, info = make(
                str(context.weights), local_files_only=True, use_safetensors=True, output_loading_info=True
            )
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CheckpointRejected(f"{context.weights} is no RT-DETR model folder ({reason[:200]}).") from None
        finally:
            if had_bar:
                bars.enable_progress_bar()
        kinds = ("missing_keys", "unexpected_keys", "mismatched_keys")
        faults = [f"{len(info[kind])} {kind.replace('_', ' ')}" for kind in kinds if info[kind]]
        if faults:
            raise CheckpointRejected(f"{context.weights} does not fit RT-DETR: {', '.join(faults)}.")
        if not all(torch.isfinite(p).all() for p in net.parameters()):
            raise CheckpointRejected(f"{context.weights} has NaN or infinite weights. Fetch it again.")
        labels = {str(name).lower(): int(i) for i, name in (net.config.id2label or {}).items()}
        if PERSON not in labels:
            raise CheckpointRejected(f"{context.weights}: config.json names no class 'person'.")
        self.person, self.device = labels[PERSON], context.device
        self.net = net.to(context.device).eval()

    def people(self, image_HW3: NDArray[np.uint8]) -> Detections:
        """See ``Detector``."""
        import torch

        height, width = image_HW3.shape[:2]
        small = Image.fromarray(image_HW3).resize((self.SIZE, self.SIZE), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.asarray(small, np.float32).transpose(2, 0, 1)[None] / 255.0).to(self.device)
        with torch.inference_mode():
            out = self.net(pixels)
            score_QC, box_Q4 = out.logits[0].float().sigmoid(), out.pred_boxes[0].float()
            n_queries, n_classes = score_QC.shape
            best, at = score_QC.flatten().topk(n_queries)
            is_person = at % n_classes == self.person
            people = box_Q4[at[is_person] // n_classes]  # centre and size, as shares of the picture
            corners = torch.cat([people[:, :2] - people[:, 2:] / 2, people[:, :2] + people[:, 2:] / 2], dim=-1)
            corners = corners * torch.tensor([width, height, width, height], device=corners.device)
        return Detections(corners.cpu().numpy(), best[is_person].cpu().numpy())


class TorchvisionDetector:
    """Faster R-CNN and its relatives from torchvision; the state-dict file is the user's.

    The network resizes the picture itself (shorter side 800, at most 1333) and drops boxes below score 0.05.
    """

    def __init__(self, context: DetectorContext) -> None:
        from torchvision.models import detection

        from sapiens_bench.models.parts.checkpoints import fill, open_state

        o = {name: context.option(name, _TORCHVISION_OPTIONS) for name in _TORCHVISION_OPTIONS}
        architecture = o["architecture"]
        known = sorted(name for name in dir(detection) if name.startswith(("fasterrcnn_", "retinanet_", "fcos_")))
        if architecture not in known:
            raise UnknownName("torchvision detector", architecture, known)
        # Built on the CPU and not on "meta": the anchors are computed when the network is made.
        net = getattr(detection, architecture)(
            weights=None,
            weights_backbone=None,
            num_classes=o["classes"],
            min_size=o["min_size"],
            max_size=o["max_size"],
        )
        state = open_state(context.weights).state
        fill(net, state, context.weights, what=f"torchvision's {architecture}")
        self.person, self.device, self.net = o["person"], context.device, net.to(context.device).eval()

    def people(self, image_HW3: NDArray[np.uint8]) -> Detections:
        """See ``Detector``."""
        import torch

        pixels = torch.from_numpy(image_HW3.transpose(2, 0, 1).astype(np.float32) / 255.0).to(self.device)
        with torch.inference_mode():
            out = self.net([pixels])[0]
        is_person = (out["labels"] == self.person).cpu().numpy()
        return Detections(out["boxes"].float().cpu().numpy()[is_person], out["scores"].float().cpu().numpy()[is_person])


# wrapper of a card -> (class, its own options with their defaults)
DETECTORS: dict[str, tuple[Callable[[DetectorContext], Detector], Mapping[str, Any]]] = {
    "rtdetr": (RtDetr, {}),
    "torchvision": (TorchvisionDetector, _TORCHVISION_OPTIONS),
}


def detector_weights(entry: DetectorEntry, path: Path | None) -> Path:
    """The weight file or folder. Raises WeightsMissing when the card names none."""
    if path is None:
        raise WeightsMissing(f"{entry.variant.id}: the card names no weights.")
    return path
