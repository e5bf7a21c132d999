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

from sapiens_bench.cards.entries import DetectorEntry
from sapiens_bench.cards.options import read_options
from sapiens_bench.errors import CheckpointRejected, UnknownName, WeightsMissing
from sapiens_bench.models.options import OPTIONS, DetectorOptions, TorchvisionDetectorOptions

PERSON = "person"


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
    options: DetectorOptions


def build_detector(context: DetectorContext) -> Callable[[NDArray[np.uint8]], Detections]:
    """image -> people above the card's score threshold, at most ``max_boxes``, best first.

    Raises:
        UnknownName: no such wrapper.
        CheckpointRejected, UntrustedCheckpoint: the weights cannot be used.
    """
    wrapper = context.entry.card.wrapper
    if wrapper not in DETECTORS:
        raise UnknownName("detector wrapper", wrapper, DETECTORS)
    detector = DETECTORS[wrapper](context)
    threshold, limit = context.options.score_threshold, context.options.max_boxes
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
        from sapiens_bench.models.parts.hub_folder import open_network

        net: Any = open_network(context.weights, {"rt_detr": "RTDetrForObjectDetection"}, context.entry.variant.id)
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

        chosen = context.options
        assert isinstance(chosen, TorchvisionDetectorOptions)
        known = sorted(name for name in dir(detection) if name.startswith(("fasterrcnn_", "retinanet_", "fcos_")))
        if chosen.architecture not in known:
            raise UnknownName("torchvision detector", chosen.architecture, known)
        # Built on the CPU and not on "meta": the anchors are computed when the network is made.
        net = getattr(detection, chosen.architecture)(
            weights=None,
            weights_backbone=None,
            num_classes=chosen.classes,
            min_size=chosen.min_size,
            max_size=chosen.max_size,
        )
        state = open_state(context.weights).state
        fill(net, state, context.weights, what=f"torchvision's {chosen.architecture}")
        self.person, self.device, self.net = chosen.person, context.device, net.to(context.device).eval()

    def people(self, image_HW3: NDArray[np.uint8]) -> Detections:
        """See ``Detector``."""
        import torch

        pixels = torch.from_numpy(image_HW3.transpose(2, 0, 1).astype(np.float32) / 255.0).to(self.device)
        with torch.inference_mode():
            out = self.net([pixels])[0]
        is_person = (out["labels"] == self.person).cpu().numpy()
        return Detections(out["boxes"].float().cpu().numpy()[is_person], out["scores"].float().cpu().numpy()[is_person])


DETECTORS: dict[str, Callable[[DetectorContext], Detector]] = {  # wrapper of a card -> class
    "rtdetr": RtDetr,
    "torchvision": TorchvisionDetector,
}


def detector_options(entry: DetectorEntry, given: Mapping[str, Any]) -> DetectorOptions:
    """The options of a detector: the card's with the request's over them.

    Raises:
        UnknownName: the card's wrapper is no detector.
        CardError: a key or a value that it does not have.
    """
    kind = OPTIONS.get(entry.card.wrapper)
    if not isinstance(kind, type) or not issubclass(kind, DetectorOptions):
        raise UnknownName("detector wrapper", entry.card.wrapper, DETECTORS)
    return read_options(kind, given, f"detector {entry.variant.id}")


def detector_weights(entry: DetectorEntry, path: Path | None) -> Path:
    """The weight file or folder. Raises WeightsMissing when the card names none."""
    if path is None:
        raise WeightsMissing(f"{entry.variant.id}: the card names no weights.")
    return path
