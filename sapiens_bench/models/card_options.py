"""Options of networks that only their card describes, whatever runs them: ONNX files, programs, functions in memory."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from sapiens_bench.cards.options import Options
from sapiens_bench.models.dense_options import (
    AlbedoOptions,
    AxesOptions,
    DepthOptions,
    MattingOptions,
    OnnxFile,
    OnnxLayout,
    Padding,
    PointsOptions,
)
from sapiens_bench.models.heatmap_options import odd


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

    _odd_kernel = field_validator("blur_kernel")(odd)

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


class OnnxPointmapOptions(CardMapsOptions, OnnxFile, PointsOptions):
    pass


class OnnxMattingOptions(CardMapsOptions, OnnxFile, MattingOptions):
    pass


class OnnxAlbedoOptions(CardMapsOptions, OnnxFile, AlbedoOptions):
    pass


class Program(Options):
    """Of torch programs."""

    layout: Literal["NCHW"] = "NCHW"
    """Torch programs take pictures as [B, 3, H, W]."""


class ProgramSegOptions(CardMapsOptions, Program):
    output: Literal["logits"] = "logits"
    """Torch programs answer with scores of classes, not with labels."""


class ExportedPoseOptions(CardPoseOptions, Program):
    pass


class ExportedDepthOptions(CardMapsOptions, Program, DepthOptions):
    pass


class ExportedNormalOptions(CardMapsOptions, Program, AxesOptions):
    pass


class ExportedPointmapOptions(CardMapsOptions, Program, PointsOptions):
    pass


class ExportedMattingOptions(CardMapsOptions, Program, MattingOptions):
    pass


class ExportedAlbedoOptions(CardMapsOptions, Program, AlbedoOptions):
    pass


class Live(Program):
    """Of a network that lies in the memory of this process (``evaluate(models=[net])``)."""

    given: str
    """Its content: a hash of its weights, or a number that never comes again where they cannot be hashed."""


class LivePoseOptions(CardPoseOptions, Live):
    pass


class LiveSegOptions(ProgramSegOptions, Live):
    pass


class LiveDepthOptions(CardMapsOptions, Live, DepthOptions):
    pass


class LiveNormalOptions(CardMapsOptions, Live, AxesOptions):
    pass


class LivePointmapOptions(CardMapsOptions, Live, PointsOptions):
    pass


class LiveMattingOptions(CardMapsOptions, Live, MattingOptions):
    pass


class LiveAlbedoOptions(CardMapsOptions, Live, AlbedoOptions):
    pass


CARD_WRAPPERS: dict[str, dict[str, type[Options]]] = {  # key of WRAPPERS -> task -> class
    "exported": {
        "pose": ExportedPoseOptions,
        "seg": ProgramSegOptions,
        "depth": ExportedDepthOptions,
        "normal": ExportedNormalOptions,
        "pointmap": ExportedPointmapOptions,
        "matting": ExportedMattingOptions,
        "albedo": ExportedAlbedoOptions,
    },
    "live": {
        "pose": LivePoseOptions,
        "seg": LiveSegOptions,
        "depth": LiveDepthOptions,
        "normal": LiveNormalOptions,
        "pointmap": LivePointmapOptions,
        "matting": LiveMattingOptions,
        "albedo": LiveAlbedoOptions,
    },
    "onnx": {
        "pose": OnnxPoseOptions,
        "seg": OnnxSegOptions,
        "depth": OnnxDepthOptions,
        "normal": OnnxNormalOptions,
        "pointmap": OnnxPointmapOptions,
        "matting": OnnxMattingOptions,
        "albedo": OnnxAlbedoOptions,
    },
}
