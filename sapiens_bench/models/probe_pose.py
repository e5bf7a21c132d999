"""A pose head that ``sapiens-bench probe`` fitted, on its trunk: heatmaps of a crop per person, UDP crop and decoding.

The padded box is cut to the card's size; ``probe.people`` cuts the crops that the head is fitted on the same way.
"""

from __future__ import annotations

from torch import Tensor

from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.parts.decoders import Answers, UdpHeatmaps
from sapiens_bench.models.parts.dense_frame import input_spec
from sapiens_bench.models.parts.fitted_head import open_fitted
from sapiens_bench.models.parts.top_down import Framing, TopDown
from sapiens_bench.models.parts.udp_targets import blur_kernel_of


class ProbePose(TopDown):
    """The wrapper; see ``ProbePoseOptions``.

    Raises:
        CardError: no keypoint space with mirror images. CheckpointRejected: see ``open_fitted``.
    """

    def __init__(self, context: ModelContext) -> None:
        spec = input_spec(context)
        decoder = UdpHeatmaps("mmpose1")
        super().__init__(context, spec, Framing(), decoder, context.options.flip_test)
        self.trunk, self.head, _ = open_fitted(context, spec, self.n_keypoints)
        decoder.blur_kernel = blur_kernel_of(spec.height // self.head.plan.out_stride)
        self.notes = self.trunk.notes

    def network(self, image: Tensor) -> Answers:
        return (self.head(self.trunk(image), image, ("pose",))["pose"],)

    def forward(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """See ``types.Model``. Pixels stay bytes: trunk and head have their own scales."""
        return self.decoder.on_device(self.answers(tensors["crop"]))
