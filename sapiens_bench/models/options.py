"""The options of every wrapper and detector of this package, without the libraries that run them.

The plan reads options before any network library is loaded, so they stand here and not beside the networks. A wrapper
outside the package carries its class itself, as attribute ``Options``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, create_model, field_validator, model_validator

from sapiens_bench.cards.options import NoOptions, Options
from sapiens_bench.errors import CardError
from sapiens_bench.models.box_free_options import OneStageOptions
from sapiens_bench.models.dense_options import DENSE_WRAPPERS, OnnxFile, OnnxLayout, Sign
from sapiens_bench.models.heatmap_options import HEATMAP_WRAPPERS
from sapiens_bench.models.probe_options import PROBE_WRAPPERS
from sapiens_bench.models.stored_options import predictions_options
from sapiens_bench.tasks.depth.types import DepthKind
from sapiens_bench.types import TaskKind

# One class; or one per task where they differ; or a function of the task that owns them.
OptionsOf = type[Options] | Mapping[str, type[Options]] | Callable[[TaskKind], type[Options]]

Padding = Annotated[float, Field(gt=0, le=10)]
Heads = Annotated[int, Field(ge=1, le=1024)]
SapiensV1Size = Literal["0.3b", "0.6b", "1b", "2b"]
Sapiens2Size = Literal["0.1b", "0.4b", "0.8b", "1b", "5b"]
VitPoseSize = Literal["small", "base", "large", "huge"]


class AxesOptions(Options):
    axis_sign: tuple[Sign, Sign, Sign] = (1, 1, 1)
    """Signs that bring the network's normals to x right, y up, z towards the viewer."""


class DepthOptions(Options):
    depth_kind: DepthKind
    """What the network's numbers mean, hence in which space a fit to the ground truth is made."""


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


class CardPoseOptions(Options):
    """Of pose networks that only their card describes, whatever runs them."""

    output: Literal["heatmap", "simcc", "coords"]
    """What the file answers: maps [B, K, h, w]; two sets of vectors [B, K, bins]; or positions [B, K, 2 or 3]."""
    padding: Padding = 1.25
    """Side of the crop over that of the box."""
    flip_test: bool = False
    """Mean with the mirrored crop."""
    codec: Literal["udp", "udp_vitpose", "plain"] = "udp"
    """Heatmaps: crop and decoding. ``udp``: UDP with DARK as MMPose 1.x decodes it; ``udp_vitpose``: as ViTPose's own
    code does; ``plain``: three-point crop, quarter-pixel decoding."""
    blur_kernel: Annotated[int, Field(ge=3, le=63)] = 11
    """Heatmaps under UDP: odd size of the Gaussian (MMPose: 11 for 256 x 192, 17 for 384 x 288)."""
    split_ratio: Annotated[float, Field(gt=0, le=64)] = 2.0
    """SimCC: bins per crop pixel."""
    score: Literal["min", "mean"] = "min"
    """SimCC: score of a keypoint, the smaller of its two maxima or their mean."""
    units: Literal["pixel", "share"] | None = None
    """Coordinates, where it must be given: pixels of the crop, or shares of its sides."""
    output_names: tuple[str, ...] = ()
    """Where the file's outputs are not told apart by their shapes: those that are meant (SimCC: x, then y; coordinates:
    positions, then scores). The outputs of a torch program are called 0, 1 ..."""

    @field_validator("blur_kernel")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("must be odd")
        return value

    @model_validator(mode="after")
    def _fits_output(self) -> CardPoseOptions:
        for name, output in _BELONGS_TO.items():
            if name in self.model_fields_set and self.output != output:
                raise ValueError(f"{name!r} goes with output: {output}, not with output: {self.output}")
        if self.output == "coords" and self.units is None:
            raise ValueError("output: coords needs 'units', pixel or share")
        return self


_BELONGS_TO = {
    "codec": "heatmap",
    "blur_kernel": "heatmap",
    "units": "coords",
    "split_ratio": "simcc",
    "score": "simcc",
}


class CardMapsOptions(Options):
    """Of dense networks that only their card describes, whatever runs them."""

    resize: Literal["stretch", "pad", "none"] = "stretch"
    """How the picture comes to the card's size; ``pad`` keeps its aspect and puts it in the middle; ``none`` leaves it
    as it is, for files that take any size (then pictures of different size run one by one)."""
    interpolation: Literal["linear", "cubic", "area"] = "linear"
    """As OpenCV does it."""
    padding: Literal["replicate", "black"] = "replicate"
    """Under ``pad``: what lies around the picture."""


class OnnxPoseOptions(CardPoseOptions, OnnxLayout):
    pass


class OnnxSegOptions(CardMapsOptions, OnnxFile):
    output: Literal["logits", "labels"] = "logits"
    """``labels``: the file ends in an arg max."""
    person_output: str | None = None
    """The output that tells person (logit above 0) from background, where the other holds the parts alone."""


class OnnxDepthOptions(CardMapsOptions, OnnxFile, DepthOptions):
    pass


class OnnxNormalOptions(CardMapsOptions, OnnxFile, AxesOptions):
    pass


class _Program(Options):
    layout: Literal["NCHW"] = "NCHW"
    """Torch programs take pictures as [B, 3, H, W]."""


class ExportedPoseOptions(CardPoseOptions, _Program):
    pass


class ExportedSegOptions(CardMapsOptions, _Program):
    output: Literal["logits"] = "logits"
    """Torch programs answer with scores of classes, not with labels."""


class ExportedDepthOptions(CardMapsOptions, _Program, DepthOptions):
    pass


class ExportedNormalOptions(CardMapsOptions, _Program, AxesOptions):
    pass


class Live(_Program):
    """Of a network that lies in the memory of this process (``evaluate(models=[net])``)."""

    given: str
    """Its content: a hash of its weights, or a number that never comes again where they cannot be hashed."""


class LivePoseOptions(CardPoseOptions, Live):
    pass


class LiveSegOptions(CardMapsOptions, Live):
    output: Literal["logits"] = "logits"
    """Scores of classes, not labels."""


class LiveDepthOptions(CardMapsOptions, Live, DepthOptions):
    pass


class LiveNormalOptions(CardMapsOptions, Live, AxesOptions):
    pass


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
    "exported": {
        "pose": ExportedPoseOptions,
        "seg": ExportedSegOptions,
        "depth": ExportedDepthOptions,
        "normal": ExportedNormalOptions,
    },
    "floors": floor_options,
    "holistic": {"pose": PersonCropOptions},
    "live": {
        "pose": LivePoseOptions,
        "seg": LiveSegOptions,
        "depth": LiveDepthOptions,
        "normal": LiveNormalOptions,
    },
    "mask2former": {"seg": NoOptions},
    "movenet": {"pose": PersonCropOptions},
    "noisy_oracle": noise_options,
    "one_stage": {"pose": OneStageOptions},
    "onnx": {"pose": OnnxPoseOptions, "seg": OnnxSegOptions, "depth": OnnxDepthOptions, "normal": OnnxNormalOptions},
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
