"""ViTPose and ViTPose+: top-down heatmaps from transformers' network, with the authors' own crop and decoding.

transformers' image processor crops with another interpolation and blurs with another Gaussian than the test code that
the published numbers come from (0.04 to 0.16 px on average, up to 2.5 px), so it is not used.

Source: ViTAE-Transformer/ViTPose, ``mmpose/core/evaluation/top_down_eval.py`` (``keypoints_from_heatmaps``) and
``mmpose/datasets/pipelines/top_down_transform.py`` (``TopDownAffine``); goldens made by the authors' code.
"""

from __future__ import annotations

from torch import Tensor, nn

from sapiens_bench.errors import CardError, WeightsMissing
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.options import VitPoseOptions
from sapiens_bench.models.parts.decoders import Answers, Decoder, PlainHeatmaps, UdpHeatmaps
from sapiens_bench.models.parts.dense_frame import input_spec
from sapiens_bench.models.parts.hub_folder import open_folder
from sapiens_bench.models.parts.top_down import Framing, TopDown, plain_crop, udp_crop
from sapiens_bench.models.vitpose_convert import (
    DATASETS,
    KEYPOINTS,
    PoseNet,
    load_official,
    merge_folder,
    on_meta,
    published,
)

BLUR_KERNEL = 11


class VitPose(TopDown):
    """The wrapper; see ``VitPoseOptions``.

    Raises:
        WeightsMissing: no weights, and no option ``size`` to profile by.
        CardError: ``dataset_index`` and the card's keypoint space or weights do not go together.
    """

    def __init__(self, context: ModelContext) -> None:
        chosen: VitPoseOptions = context.options
        is_udp = chosen.codec == "udp"
        decoder: Decoder = UdpHeatmaps("vitpose", BLUR_KERNEL) if is_udp else PlainHeatmaps()
        framing = Framing(udp_crop if is_udp else plain_crop)
        super().__init__(context, input_spec(context), framing, decoder, chosen.flip_test)
        check_dataset(context, self.n_keypoints)
        net = _network(context, self.input_hw).eval()
        # Without weights the network stays on the meta device: the profiler counts there, or fills it at random.
        dtype = self.normalise.dtype
        self.net: nn.Module = net if context.weights is None else net.to(context.device, dtype)

    def network(self, image: Tensor) -> Answers:
        return (heatmaps_of(self.net, image),)


def heatmaps_of(net: nn.Module, image: Tensor) -> Tensor:
    """Raw heatmaps [B, K, H / 4, W / 4], float32."""
    found: Tensor = net(image)
    return found.float()


def check_dataset(context: ModelContext, n_keypoints: int) -> None:
    """The data set asked for, against the card's keypoint space and the format of its weights.

    Raises:
        CardError: its keypoints are not those of the space, or a hub folder lacks its head.
    """
    index, name = context.options.dataset_index, context.variant.id
    if KEYPOINTS[index] != n_keypoints:
        raise CardError(
            f"{name}: dataset_index {index} ({DATASETS[index]}) has {KEYPOINTS[index]} keypoints, "
            f"the card's space has {n_keypoints}."
        )
    weights = context.variant.weights
    if index and weights is not None and weights.format == "hf":
        raise CardError(
            f"{name}: hub folders of ViTPose+ hold the head of data set 0 alone. For {DATASETS[index]} give the "
            "authors' multi-data-set file with 'format: pth'."
        )


def _network(context: ModelContext, input_hw: tuple[int, int]) -> nn.Module:
    chosen: VitPoseOptions = context.options
    index = chosen.dataset_index
    if context.weights is None:
        if chosen.size is None:
            raise WeightsMissing(
                f"{context.variant.id}: no weights on this machine, and no option 'size' to profile by."
            )
        return PoseNet(on_meta(published(chosen.size, KEYPOINTS[index], input_hw)))
    if context.weights.is_dir():
        net = open_folder(context, {"vitpose": "VitPoseForPoseEstimation"})
        return merge_folder(net, context.weights, index, input_hw)
    ignore = context.variant.weights.ignore_keys if context.variant.weights else ()
    return load_official(context.weights, index, input_hw, chosen.heads, ignore, context.trusted)
