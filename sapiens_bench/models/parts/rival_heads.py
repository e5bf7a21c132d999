"""Decoders of published networks on the feature maps of any trunk, for ``sapiens-bench probe --arch``.

    deeplabv3plus   segmentation-models-pytorch, DeepLabV3PlusDecoder (Chen et al., arXiv 1802.02611)
    upernet         transformers, UperNetHead (Xiao et al., arXiv 1807.10221)
    dpt             transformers, DPTFeatureFusionStage and the head behind it (Ranftl et al., arXiv 2103.13413)
    mask2former     transformers, pixel decoder, masked attention and set loss (Cheng et al., arXiv 2112.01527)

All see maps at strides 4, 8, 16 and 32. A trunk that has none at a stride gives its nearest one, resized. None of them
sees the picture itself. Axes: B images, C channels, h x w input pixels, Q queries.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sapiens_bench.errors import UsageError
from sapiens_bench.models.parts.dense_head import HeadPlan
from sapiens_bench.models.parts.hub_folder import transformers_class

STRIDES = (4, 8, 16, 32)
NO_LABEL = 255


class RivalHead(nn.Module):
    """Feature maps -> one map a task at ``plan.out_stride``, float32; the interface of ``DenseHead``.

    Raises:
        UsageError: the architecture does not exist for the tasks, or its package is not installed.
    """

    def __init__(self, plan: HeadPlan) -> None:
        super().__init__()
        self.plan = plan
        strides = plan.strides
        self.sources = {wanted: min(strides, key=lambda s: (abs(math.log2(s / wanted)), s)) for wanted in STRIDES}
        channels = []
        for wanted, stride in self.sources.items():
            n = sum(tap.channels for tap in plan.taps if tap.stride == stride)
            self.register_buffer(f"mean{wanted}", torch.zeros(1, n, 1, 1))
            self.register_buffer(f"deviation{wanted}", torch.ones(1, n, 1, 1))
            channels.append(n)
        self.net: nn.Module = BUILDERS[plan.arch](channels, sum(plan.outputs.values()), plan.width)

    def forward(
        self, taps: Sequence[Tensor], image: Tensor | None = None, tasks: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """One map [B, C, h', w'] a task; see ``DenseHead.forward``. ``image`` is not looked at."""
        out = self.net(self.pyramid(taps)).float()
        tap, stride = self.plan.taps[0], self.plan.out_stride
        size = [side * tap.stride // stride for side in taps[0].shape[-2:]]
        if list(out.shape[-2:]) != size:
            out = F.interpolate(out, size, mode="bilinear", align_corners=False)
        parts = dict(zip(self.plan.outputs, out.split(list(self.plan.outputs.values()), 1), strict=True))
        return {task: parts[task] for task in (tasks or self.plan.outputs)}

    def pyramid(self, taps: Sequence[Tensor]) -> list[Tensor]:
        """Standardised maps at strides 4, 8, 16 and 32, each twice as large as the next."""
        tap = self.plan.taps[0]
        coarse = [math.ceil(side * tap.stride / STRIDES[-1]) for side in taps[0].shape[-2:]]
        maps = []
        for wanted, stride in self.sources.items():
            x = torch.cat([m.float() for m, t in zip(taps, self.plan.taps, strict=True) if t.stride == stride], 1)
            x = (x - self.get_buffer(f"mean{wanted}")) / self.get_buffer(f"deviation{wanted}")
            size = [side * STRIDES[-1] // wanted for side in coarse]
            if list(x.shape[-2:]) != size:
                x = F.interpolate(x, size, mode="bilinear", align_corners=False)
            maps.append(x)
        return maps

    def standardise(self, means: Sequence[Tensor], deviations: Sequence[Tensor]) -> None:
        """See ``DenseHead.standardise``."""
        for wanted, stride in self.sources.items():
            chosen = [i for i, tap in enumerate(self.plan.taps) if tap.stride == stride]
            self.get_buffer(f"mean{wanted}").copy_(torch.cat([means[i] for i in chosen]).view(1, -1, 1, 1))
            deviation = torch.cat([deviations[i] for i in chosen]).clamp_min(1e-3)
            self.get_buffer(f"deviation{wanted}").copy_(deviation.view(1, -1, 1, 1))

    def own_losses(self, taps: Sequence[Tensor], labels_BHW: Tensor) -> dict[str, Tensor] | None:
        """The loss that belongs to the architecture; None: the ordinary losses of the tasks."""
        if not isinstance(self.net, MaskQueries):
            return None
        return {"seg": self.net.set_loss(self.pyramid(taps), labels_BHW)}

    def fold(self) -> RivalHead:
        """The head for use."""
        return self.eval()


class DeepLabV3Plus(nn.Module):
    """Atrous pyramid at stride 16, joined with the map at stride 4."""

    def __init__(self, channels: Sequence[int], outputs: int, width: int) -> None:
        super().__init__()
        try:
            from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3PlusDecoder
        except ImportError:
            raise UsageError(
                "deeplabv3plus needs segmentation-models-pytorch: pip install 'sapiens-vision-bench[rivals]'."
            ) from None
        self.decoder: nn.Module = DeepLabV3PlusDecoder(
            encoder_channels=(0, 0, channels[0], channels[1], channels[2]),
            encoder_depth=4,
            out_channels=width,
            atrous_rates=(12, 24, 36),
            output_stride=16,
            aspp_separable=True,
            aspp_dropout=0.5,
        )
        self.out = nn.Conv2d(width, outputs, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        found: Tensor = self.out(self.decoder([maps[0], maps[0], maps[0], maps[1], maps[2]]))
        return found


class UperNet(nn.Module):
    """Pyramid pooling at stride 32, then a feature pyramid down to stride 4."""

    def __init__(self, channels: Sequence[int], outputs: int, width: int) -> None:
        super().__init__()
        from transformers.models.upernet import modeling_upernet

        library: Any = modeling_upernet
        config = transformers_class("UperNetConfig")(hidden_size=width, num_labels=outputs)
        self.head: nn.Module = library.UperNetHead(config, list(channels))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        found: Tensor = self.head(list(maps))
        return found


class Dpt(nn.Module):
    """Residual fusion from stride 32 to stride 2."""

    def __init__(self, channels: Sequence[int], outputs: int, width: int) -> None:
        super().__init__()
        from transformers.models.dpt.modeling_dpt import DPTFeatureFusionStage, DPTSemanticSegmentationHead

        config = transformers_class("DPTConfig")(
            fusion_hidden_size=width, neck_hidden_sizes=list(channels), num_labels=outputs
        )
        self.convs = nn.ModuleList(nn.Conv2d(n, width, 3, padding=1, bias=False) for n in channels)
        self.fusion: nn.Module = DPTFeatureFusionStage(config)
        self.head = nn.Sequential(*DPTSemanticSegmentationHead(config).head[:-1])  # the last enlarges to stride 1

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        fused = self.fusion([conv(x) for conv, x in zip(self.convs, maps, strict=True)])
        found: Tensor = self.head(fused[-1])
        return found


class MaskQueries(nn.Module):
    """Mask2Former: queries with a class and a mask each, fitted by bipartite matching to the masks of the classes."""

    def __init__(self, channels: Sequence[int], outputs: int, width: int) -> None:
        super().__init__()
        from transformers.models.mask2former import modeling_mask2former as library

        if width % 32:
            raise UsageError(f"mask2former: --width {width} is no multiple of 32.")
        self.config: Any = transformers_class("Mask2FormerConfig")(
            feature_size=width,
            mask_feature_size=width,
            hidden_dim=width,
            encoder_feedforward_dim=4 * width,
            dim_feedforward=8 * width,
            num_labels=outputs,
            feature_strides=list(STRIDES),
        )
        self.weights: dict[str, float] = {
            "loss_cross_entropy": self.config.class_weight,
            "loss_mask": self.config.mask_weight,
            "loss_dice": self.config.dice_weight,
        }
        self.parts: Any = _mask_parts(library, self.config, list(channels))
        self.criterion: Any = library.Mask2FormerLoss(self.config, self.weights)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Class scores: sum over queries of softmax(class)[c] * sigmoid(mask)."""
        classes, masks = self.queries(maps)[-1]
        return torch.einsum("bqc,bqhw->bchw", classes.float().softmax(-1)[..., :-1], masks.float().sigmoid())

    def queries(self, maps: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Class logits [B, Q, C + 1] and mask logits [B, Q, h', w'] behind every layer; the last are the answer."""
        pixels = self.parts.pixel_decoder(list(maps), output_hidden_states=False, output_attentions=False)
        found = self.parts.transformer_module(
            list(pixels.multi_scale_features), pixels.mask_features, output_hidden_states=True
        )
        classes = [self.parts.class_predictor(state.transpose(0, 1)) for state in found.intermediate_hidden_states]
        return list(zip(classes, found.masks_queries_logits, strict=True))

    def set_loss(self, maps: Sequence[Tensor], labels_BHW: Tensor) -> Tensor:
        """Classes, masks and dice of matched queries, summed over all layers with the paper's weights."""
        layers = [(classes.float(), masks.float()) for classes, masks in self.queries(maps)]
        present = [torch.unique(labels[labels != NO_LABEL]).long() for labels in labels_BHW]
        truth = [(labels[None] == c[:, None, None]).float() for labels, c in zip(labels_BHW, present, strict=True)]
        found = self.criterion(
            masks_queries_logits=layers[-1][1],
            class_queries_logits=layers[-1][0],
            mask_labels=truth,
            class_labels=present,
            auxiliary_predictions=[
                {"class_queries_logits": classes, "masks_queries_logits": masks} for classes, masks in layers[:-1]
            ],
        )
        weighted = [
            value * next(weight for key, weight in self.weights.items() if key in name) for name, value in found.items()
        ]
        return torch.stack(weighted).sum()


def _mask_parts(library: Any, config: Any, channels: list[int]) -> Any:
    """The library's modules under one roof, so that its own initialisation finds them."""

    class Parts(library.Mask2FormerPreTrainedModel):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(config)
            self.pixel_decoder = library.Mask2FormerPixelDecoder(config, channels)
            self.transformer_module = library.Mask2FormerTransformerModule(config.feature_size, config)
            self.class_predictor = nn.Linear(config.hidden_dim, config.num_labels + 1)
            self.post_init()

    return Parts()


BUILDERS: dict[str, Callable[[Sequence[int], int, int], nn.Module]] = {
    "deeplabv3plus": DeepLabV3Plus,
    "upernet": UperNet,
    "dpt": Dpt,
    "mask2former": MaskQueries,
}
