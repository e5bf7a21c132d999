"""The options of every wrapper and detector of this package, without the libraries that run them.

The plan reads options before any network library is loaded, so they stand here and not beside the networks. A wrapper
outside the package carries its class itself, as attribute ``Options``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, create_model

from sapiens_bench.cards.options import NoOptions, Options
from sapiens_bench.errors import CardError
from sapiens_bench.models.box_free_options import OneStageOptions
from sapiens_bench.models.card_options import CARD_WRAPPERS
from sapiens_bench.models.dense_options import (
    DENSE_WRAPPERS,
    AxesOptions,
    DepthOptions,
    Padding,
)
from sapiens_bench.models.heatmap_options import HEATMAP_WRAPPERS
from sapiens_bench.models.probe_options import PROBE_WRAPPERS
from sapiens_bench.models.stored_options import predictions_options
from sapiens_bench.types import TaskKind

# One class; or one per task where they differ; or a function of the task that owns them.
OptionsOf = type[Options] | Mapping[str, type[Options]] | Callable[[TaskKind], type[Options]]

Heads = Annotated[int, Field(ge=1, le=1024)]
SapiensV1Size = Literal["0.3b", "0.6b", "1b", "2b"]
Sapiens2Size = Literal["0.1b", "0.4b", "0.8b", "1b", "5b"]
VitPoseSize = Literal["small", "base", "large", "huge"]


class SapiensV1Options(Options):
    """Of all four tasks."""

    size: SapiensV1Size | None = None
    """Published size; a file of another size is refused. Needed to profile without the weights."""
    heads: Heads | None = None
    """Attention heads, for networks of no published width."""
    patch_padding: Literal[0, 2] | None = None
    """Padding of the patch embedding; by default that of the official configuration for the head."""
    pipeline: Literal["full", "lite"] = "full"
    """``full``: the official evaluation; ``lite``: the pre- and post-processing of the lite demo."""


class SapiensV1PoseOptions(SapiensV1Options):
    flip_test: bool | None = None
    """Mean with the mirrored crop; by default as the pipeline does it: on under ``full``, off under ``lite``."""


class SapiensV1DepthOptions(SapiensV1Options):
    flip_test: bool = False
    """Mean with the mirrored picture; the official evaluation does without."""


class SapiensV1NormalOptions(SapiensV1Options, AxesOptions):
    pass


class Sapiens2Options(Options):
    """Of all its tasks."""

    size: Sapiens2Size | None = None
    """Published size; a file of another size is refused."""


class Sapiens2PoseOptions(Sapiens2Options):
    flip_test: bool = True
    """Mean with the mirrored crop."""


class Sapiens2DepthOptions(Sapiens2Options):
    depth_kind: Literal["scale_invariant_depth"]
    """The z of a point map: true depth up to one factor per picture."""


class Sapiens2NormalOptions(Sapiens2Options, AxesOptions):
    pass


class VitPoseOptions(Options):
    dataset_index: Annotated[int, Field(ge=0, le=5)] = 0
    """Whose expert and head: 0 COCO, 1 AI Challenger, 2 MPII, 3 AP-10K, 4 APT-36K, 5 COCO-WholeBody."""
    flip_test: bool = True
    """Mean with the mirrored crop."""
    codec: Literal["udp", "plain"] = "udp"
    """``udp``: configuration of the + models. ``plain``: that of the split WholeBody files (crop without UDP, mirrored
    map shifted by one pixel, quarter-pixel decoding). Which of the two gave the published WholeBody numbers is not
    stated by their authors."""
    size: VitPoseSize | None = None
    """Published size; needed only to profile without the weights."""
    heads: Heads | None = None
    """Attention heads, for networks of no published width."""


class SimccOptions(Options):
    split_ratio: Annotated[float, Field(gt=0, le=64)] = 2.0
    """Bins per crop pixel."""
    score: Literal["min", "mean"] = "min"
    """Score of a keypoint: the smaller of its two maxima (the authors' rule) or their mean (rtmlib's)."""
    flip_test: bool = False
    """Mean with the mirrored crop."""
    padding: Padding = 1.25
    """Side of the crop over that of the box."""
    output_names: tuple[str, ...] = ()
    """The two outputs, x first, where they are neither called simcc_x and simcc_y nor told apart by their length."""


class DepthAnythingOptions(DepthOptions):
    resize: Literal["lower_bound", "stretch"] | None = None
    """``lower_bound`` keeps the aspect and brings the shorter side to at least the card's size; ``stretch`` goes to the
    card's size. By default what the kind of network was trained with."""
    multiple: Annotated[int, Field(ge=1, le=1024)] = 14
    """Under ``lower_bound`` both sides are rounded to multiples of it."""
    upsample: Literal["bilinear", "bicubic"] = "bilinear"
    """How the map comes to the picture's size; the library does it bicubically."""


class PersonCropOptions(Options):
    """Of MoveNet, BlazePose and Holistic."""

    padding: Padding = 1.25
    """Side of the square crop over the longer side of the box."""


class SelfieOptions(Options):
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Probability from which a pixel is a person."""


class FloorOptions(SelfieOptions):
    """Of a floor; the threshold is that of the person mask, where the floor needs one."""

    rule: str
    """Which of the task's floors this is."""


def floor_options(kind: TaskKind) -> type[Options]:
    """``FloorOptions`` with the task's own rules as the only choices."""
    if not kind.floors:
        raise CardError(f"Task {kind.name!r} has no floors.")
    rules: Any = Literal[tuple(kind.floors)]
    about = FloorOptions.model_fields["rule"].description
    return create_model("FloorOptions", __base__=FloorOptions, rule=(rules, Field(description=about)))


def noise_options(kind: TaskKind) -> type[Options]:
    """The strengths of the task's noise."""
    if kind.noise is None:
        raise CardError(f"Task {kind.name!r} has no noise, so no noisy oracle.")
    found: type[Options] = kind.noise.Options
    return found


class DetectorOptions(Options):
    """Of every detector."""

    score_threshold: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Boxes must score above it."""
    max_boxes: Annotated[int, Field(ge=1, le=10000)] = 100
    """The best so many of an image are kept."""


class TorchvisionDetectorOptions(DetectorOptions):
    architecture: str = "fasterrcnn_resnet50_fpn_v2"
    """Function of torchvision.models.detection."""
    classes: Annotated[int, Field(ge=2, le=10000)] = 91
    """Classes of the file, background among them."""
    person: Annotated[int, Field(ge=1, le=9999)] = 1
    """Label of a person."""
    min_size: Annotated[int, Field(ge=1, le=16384)] = 800
    """The network brings the picture's shorter side to it ..."""
    max_size: Annotated[int, Field(ge=1, le=16384)] = 1333
    """... but the longer one to no more than this."""


OPTIONS: dict[str, OptionsOf] = {  # key of WRAPPERS or DETECTORS
    "blazepose": {"pose": PersonCropOptions},
    "depth_anything": {"depth": DepthAnythingOptions},
    "floors": floor_options,
    "holistic": {"pose": PersonCropOptions},
    "mask2former": {"seg": NoOptions},
    "movenet": {"pose": PersonCropOptions},
    "noisy_oracle": noise_options,
    "one_stage": {"pose": OneStageOptions},
    "oracle": NoOptions,
    "pifuhd": {"normal": AxesOptions},
    "predictions": predictions_options,
    "rtdetr": DetectorOptions,
    "sapiens2": {
        "pose": Sapiens2PoseOptions,
        "seg": Sapiens2Options,
        "depth": Sapiens2DepthOptions,
        "normal": Sapiens2NormalOptions,
        "pointmap": Sapiens2Options,
        "matting": Sapiens2Options,
        "albedo": Sapiens2Options,
    },
    "sapiens_v1": {
        "pose": SapiensV1PoseOptions,
        "seg": SapiensV1Options,
        "depth": SapiensV1DepthOptions,
        "normal": SapiensV1NormalOptions,
    },
    "segformer": {"seg": NoOptions},
    "selfie": {"seg": SelfieOptions, "matting": NoOptions},
    "simcc": {"pose": SimccOptions},
    "torchvision": TorchvisionDetectorOptions,
    "vitpose": {"pose": VitPoseOptions},
    **CARD_WRAPPERS,
    **DENSE_WRAPPERS,
    **HEATMAP_WRAPPERS,
    **PROBE_WRAPPERS,
}


def options_class(found: OptionsOf | None, kind: TaskKind) -> type[Options] | None:
    """The class that holds for a task; None where nothing is declared.

    Raises:
        CardError: the wrapper does other tasks only.
    """
    if found is None or isinstance(found, type):
        return found
    if not isinstance(found, Mapping):
        return found(kind)
    if kind.name not in found:
        raise CardError(f"Its wrapper does {', '.join(found)}, not {kind.name}.")
    return found[kind.name]
