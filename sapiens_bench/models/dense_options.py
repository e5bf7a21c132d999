"""Options of dense networks with a file of their own, and of stored depth, normals and labels."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AliasChoices, Field

from sapiens_bench.cards.options import Options
from sapiens_bench.pixels.coded_normals import Encoding
from sapiens_bench.tasks.albedo.types import ColourSpace
from sapiens_bench.tasks.depth.types import DepthKind

Sign = Literal[-1, 1]
Signs = tuple[Sign, Sign, Sign]
Padding = Annotated[float, Field(gt=0, le=10)]


class AxesOptions(Options):
    axis_sign: Signs = (1, 1, 1)
    """Signs that bring the network's normals to x right, y up, z towards the viewer."""


class DepthOptions(Options):
    depth_kind: DepthKind
    """What the network's numbers mean, hence in which space a fit to the ground truth is made."""


class PointsOptions(Options):
    """Of point maps, which are right up to one factor per picture."""

    axis_sign: Signs = (1, 1, 1)
    """Signs that bring the network's points to x right, y down, z forward."""


class MattingOptions(Options):
    output: Literal["alpha", "logits"]
    """The network's numbers: shares of 0..1, or what a sigmoid makes shares of."""


class AlbedoOptions(Options):
    colour_space: ColourSpace
    """Of the network's numbers, RGB of 0..1: srgb as pictures are shown, or linear."""


class _Stored(Options):
    suffix: str = ""
    """What the file names carry after the sample's name: ``_pred`` for ``<name>_pred.npy``."""


class SavedMapsOptions(Options):
    """Of maps that ``run --save-maps`` kept."""

    maps: Annotated[str, Field(min_length=1)]
    """The folder RUN/maps/<task>/<data set>/<protocol>/<model>."""


class StoredLabels(_Stored):
    """Of ``predictions`` for seg."""

    resize: Literal["", "nearest"] = ""
    """How maps of another size become the picture's; they must cover all of it. Unset: another size is an error."""
    encoding: Literal["index", "mask"] = "index"
    """mask: everything but 0 is the person of a set of two; 0 and 255, for example."""


class StoredDepth(_Stored):
    """Of ``predictions`` for depth."""

    depth_kind: DepthKind = Field(
        default="affine_invariant_depth", validation_alias=AliasChoices("depth_kind", "kind")
    )  # ``kind`` is the name of earlier versions
    """What the numbers mean, hence in which space they are fitted to the truth."""
    unit: Literal["m", "cm", "mm"] = "m"
    """Unit of metric depth."""
    count: Annotated[float, Field(gt=0)] = 1.0
    """Units per count of 16-bit pictures."""
    resize: Literal["", "bilinear", "nearest"] = ""
    """How maps of another size become the picture's; they must cover all of it. Unset: another size is an error."""


class StoredNormals(_Stored):
    """Of ``predictions`` for normal."""

    axis_sign: Signs = (1, 1, 1)
    """Signs that bring the stored axes to x right, y up, z towards the viewer; [1, -1, -1] for OpenCV's axes."""
    order: Literal["xyz", "zyx"] = "xyz"
    """Order of the stored channels."""
    encoding: Encoding = "auto"
    """colour: (n + 1) / 2 of the full range; vector: components as they are; auto: whole numbers are colours."""
    layout: Literal["hwc", "chw"] = "hwc"
    """chw: arrays are (3, H, W). Where the 3 stands says it, declared or not."""
    resize: Literal["", "bilinear", "nearest"] = ""
    """How maps of another size become the picture's; they must cover all of it. Unset: another size is an error."""


class MetricDepthOptions(Options):
    """Of ``depth_pro``."""

    depth_kind: Literal["metric_depth"]
    """Metres along the optical axis."""


class ZoeDepthOptions(MetricDepthOptions):
    flip_test: bool = True
    """Mean with the mirrored picture, as the authors' ``infer`` does it."""
    multiple: Annotated[int, Field(ge=1, le=1024)] = 32
    """Both sides of the input are rounded to multiples of it."""


class OnnxLayout(Options):
    """Of ONNX files of any task."""

    layout: Literal["NCHW", "NHWC"] = "NCHW"
    """Order of the axes of the input, and of a map that is the output."""


class OnnxFile(OnnxLayout):
    """Of ONNX files that answer with maps."""

    output_name: str | None = None
    """Of files with several outputs: the one that holds the map."""
    output_layout: Literal["NCHW", "NHWC"] | None = None
    """Order of the axes of that output, where it is not the input's."""
    channel: Annotated[int, Field(ge=0, le=255)] | None = None
    """The one channel of the output that is meant: 2, the z of points."""
    numbers: dict[str, float] = {}
    """Further inputs of the file, each of which takes one number."""
    corner_aligned: bool = False
    """The outermost points of the map lie on the picture's outermost pixels (sides of 16 n + 1), not half a cell in."""


class SamOptions(Options):
    prompt: Literal["silhouette", "boxes"] = "silhouette"
    """Where the boxes come from: ``silhouette``, around each connected part of the shipped person mask; ``boxes``,
    those that the data set gives its models (one around the whole picture in data sets without people's boxes)."""
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Probability from which a pixel belongs to the silhouette."""


class TorchvisionSegOptions(Options):
    architecture: Literal[
        "fcn_resnet50", "fcn_resnet101", "deeplabv3_resnet50", "deeplabv3_resnet101", "deeplabv3_mobilenet_v3_large"
    ]
    """Function of torchvision.models.segmentation."""
    auxiliary: bool = True
    """The file holds the auxiliary head as well, as the published ones do; its answer is not used."""


class FaceMeshOptions(Options):
    presence: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Probability from which there is a face."""
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Probability from which a pixel is a person, in the silhouette around it."""


class DepthAnything3Options(Options):
    depth_kind: Literal["affine_invariant_depth", "scale_invariant_depth"]
    """What the network's numbers mean, hence in which space a fit to the ground truth is made."""


DENSE_PREDICTIONS: dict[str, type[Options]] = {"seg": StoredLabels, "depth": StoredDepth, "normal": StoredNormals}
DENSE_WRAPPERS: dict[str, type[Options] | dict[str, type[Options]]] = {
    "depth_anything_3": {"depth": DepthAnything3Options},
    "face_mesh": {"normal": FaceMeshOptions},
    "saved_maps": SavedMapsOptions,
    "depth_pro": {"depth": MetricDepthOptions},
    "sam": {"seg": SamOptions},
    "torchvision_seg": {"seg": TorchvisionSegOptions},
    "zoedepth": {"depth": ZoeDepthOptions},
}
