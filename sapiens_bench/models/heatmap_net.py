"""SimpleBaseline and HRNet: top-down heatmaps from MMPose's or the authors' files, cropped and decoded as MMPose does.

``plain``: three-point crop, mirrored map shifted by one pixel, quarter steps; ``dark``: the same but for DARK's step;
``udp``: UDP crop, no shift, DARK under UDP.
Source: open-mmlab/mmpose 1.3 (``MSRAHeatmap``, ``UDPHeatmap``, ``TopdownAffine``) and the configuration of each file.
"""

from __future__ import annotations

from torch import Tensor

from sapiens_bench.errors import CheckpointRejected, WeightsMissing
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.heatmap_options import HeatmapNetOptions
from sapiens_bench.models.heatmap_trunks import load_heatmap_net, published_net, trunk_name
from sapiens_bench.models.parts.decoders import Answers, Decoder, MsraHeatmaps, UdpHeatmaps
from sapiens_bench.models.parts.dense_frame import input_spec
from sapiens_bench.models.parts.top_down import Framing, TopDown, plain_crop, udp_crop


class HeatmapPose(TopDown):
    """The wrapper; see ``HeatmapNetOptions``.

    Raises:
        WeightsMissing: no weights, and no option ``trunk`` to profile by.
        CheckpointRejected: the file has another trunk than the card says, or other keypoints.
    """

    def __init__(self, context: ModelContext) -> None:
        chosen: HeatmapNetOptions = context.options
        is_udp = chosen.codec == "udp"
        kernel = chosen.blur_kernel
        decoder: Decoder = UdpHeatmaps(blur_kernel=kernel) if is_udp else MsraHeatmaps()
        if chosen.codec == "dark":
            decoder = MsraHeatmaps(kernel)
        framing = Framing(udp_crop if is_udp else plain_crop)
        super().__init__(context, input_spec(context), framing, decoder, chosen.flip_test)
        if context.weights is None:
            if chosen.trunk is None:
                raise WeightsMissing(f"{self.name}: no weights on this machine, and no option 'trunk' to profile by.")
            self.net = published_net(chosen.trunk, self.n_keypoints)
            return
        net = load_heatmap_net(context.weights, context.trusted)
        found, points = trunk_name(net), int(net.state_dict()["final_layer.weight"].shape[0])
        if (chosen.trunk or found, self.n_keypoints) != (found, points):
            raise CheckpointRejected(
                f"{context.weights} is {found} with {points} keypoints, but {self.name} asks for "
                f"{chosen.trunk or found} with {self.n_keypoints}. Put the right file there."
            )
        self.net = net.to(context.device, self.normalise.dtype)

    def network(self, image: Tensor) -> Answers:
        return (self.net(image).float(),)
