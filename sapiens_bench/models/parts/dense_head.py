"""A small convolutional decoder on the feature maps of a trunk: the head that ``sapiens-bench probe`` fits.

Coarse to fine: every feature map is standardised, brought to one width by a 1 x 1 convolution, and added to the
enlarged coarser one; residual blocks follow. Where the plan asks for it, attention over the whole map precedes them at
the coarse levels: left and right can only be told from the whole person. With an image stem, two plain convolutions
look at the picture itself at half its size, so that outlines are finer than the trunk's finest map; the result is then
at half the input, else at the finest map. That map is shared by all tasks of the head; each has convolutions of its own
behind it, the last of them 1 x 1.

Axes: B images, C channels, h x w input pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEM_STRIDE = 2
CONTEXT_STRIDE = 16  # attention sees the levels that are no finer
HEAD_CHANNELS = 32  # of one head of attention
ARCH_STRIDES = {"deeplabv3plus": 4, "upernet": 4, "mask2former": 4, "dpt": 2}  # decoders of ``rival_heads``: output


@dataclass(frozen=True, slots=True)
class Tap:
    """One feature map of a trunk."""

    name: str
    stride: int  # input pixels per cell
    channels: int


@dataclass(frozen=True, slots=True)
class HeadPlan:
    """What a head is made of; stored with its weights."""

    taps: tuple[Tap, ...]
    outputs: Mapping[str, int]  # task -> channels
    width: int = 48  # of the maps at the trunk's strides
    fine_width: int = 24  # of the last map
    stem: int = 12  # channels of the image stem; 0: the head never sees the picture
    blocks: int = 1  # residual blocks a level
    context: int = 0  # attention layers at each level of stride 16 and more
    fine_below: int = 0  # levels of a smaller stride are as wide as the last map
    own: int = 0  # 3 x 3 convolutions of each task before its 1 x 1
    arch: str = ""  # another decoder than this one, of ``width`` channels: a key of ``ARCH_STRIDES``

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of the decoder's levels, coarse to fine, without the stem's."""
        return tuple(sorted({tap.stride for tap in self.taps}, reverse=True))

    @property
    def out_stride(self) -> int:
        """Input pixels per cell of the result."""
        if self.arch:
            return ARCH_STRIDES[self.arch]
        return min(STEM_STRIDE, self.strides[-1]) if self.stem else self.strides[-1]


class ConvNorm(nn.Module):
    """Convolution, batch normalisation, ReLU. ``fold`` puts the normalisation into the convolution."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, act: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=True)
        self.norm: nn.Module = nn.BatchNorm2d(outputs)
        self.act = act
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))
        return F.relu_(x) if self.act else x

    def fold(self) -> None:
        """The same function without the normalisation layer (of its evaluation mode)."""
        norm = self.norm
        if not isinstance(norm, nn.BatchNorm2d):
            return
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert self.conv.bias is not None
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        with torch.no_grad():
            self.conv.weight.mul_(scale[:, None, None, None])
            self.conv.bias.copy_((self.conv.bias - norm.running_mean) * scale + norm.bias)
        self.norm = nn.Identity()


class Block(nn.Module):
    """Two convolutions around which the input is added again."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = ConvNorm(width, width, 3)
        self.second = ConvNorm(width, width, 3, act=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu_(x + self.second(self.first(x)))


class Context(nn.Module):
    """A transformer layer over all cells of a map, for maps of any size.

    Places are told by a depthwise convolution, whose zero padding marks the border (Chu et al., "Conditional Positional
    Encodings for Vision Transformers", ICLR 2023).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.place = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.heads = max(1, width // HEAD_CHANNELS)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.place(x)
        batch, width, height, wide = x.shape
        cells = x.flatten(2).transpose(1, 2)  # [B, h w, C]
        parts = self.qkv(self.norm1(cells)).view(batch, height * wide, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(parts[0], parts[1], parts[2])
        cells = cells + self.mix(seen.transpose(1, 2).reshape(batch, height * wide, width))
        cells = cells + self.down(F.gelu(self.up(self.norm2(cells))))
        found: Tensor = cells.transpose(1, 2).reshape(batch, width, height, wide)
        return found.contiguous(memory_format=torch.channels_last)


class Level(nn.Module):
    """The feature maps of one stride, standardised and brought to the decoder's width."""

    mean: Tensor  # [1, C, 1, 1]
    deviation: Tensor

    def __init__(self, channels: int, width: int, blocks: int = 1, context: int = 0) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("deviation", torch.ones(1, channels, 1, 1))
        self.lateral = nn.Conv2d(channels, width, 1)
        self.context = nn.ModuleList(Context(width) for _ in range(context))
        self.block = Block(width)
        self.more = nn.Sequential(*(Block(width) for _ in range(blocks - 1)))

    def forward(self, maps: Sequence[Tensor], coarser: Tensor | None) -> Tensor:
        x = (torch.cat([each.float() for each in maps], 1) - self.mean) / self.deviation
        x = self.lateral(x)
        if coarser is not None:
            x = x + F.interpolate(coarser, x.shape[-2:], mode="bilinear", align_corners=False)
        x = F.relu_(x)
        for layer in self.context:
            x = layer(x)
        out: Tensor = self.more(self.block(x))
        return out


class DenseHead(nn.Module):
    """Feature maps (and the picture) -> one map a task, at ``plan.out_stride``, float32."""

    def __init__(self, plan: HeadPlan) -> None:
        super().__init__()
        self.plan = plan
        if plan.strides[0] < plan.fine_below:
            raise ValueError(f"no level of stride {plan.fine_below} or more, strides are {plan.strides}")
        channels = {stride: sum(t.channels for t in plan.taps if t.stride == stride) for stride in plan.strides}
        self.levels = nn.ModuleDict({f"stride{s}": self._level(s, channels[s]) for s in plan.strides})
        self.narrow = ConvNorm(plan.width, plan.fine_width, 3)
        if plan.stem:
            self.stem = nn.Sequential(ConvNorm(3, plan.stem, 3, STEM_STRIDE), ConvNorm(plan.stem, plan.stem, 3))
            self.join = ConvNorm(plan.fine_width + plan.stem, plan.fine_width, 3)
        self.fine = ConvNorm(plan.fine_width, plan.fine_width, 3)
        self.own = nn.ModuleDict(
            {
                task: nn.Sequential(*(ConvNorm(plan.fine_width, plan.fine_width, 3) for _ in range(plan.own)))
                for task in plan.outputs
            }
        )
        self.out = nn.ModuleDict({task: nn.Conv2d(plan.fine_width, n, 1) for task, n in plan.outputs.items()})

    def _level(self, stride: int, channels: int) -> Level:
        plan = self.plan
        if stride < plan.fine_below:
            return Level(channels, plan.fine_width)
        return Level(channels, plan.width, plan.blocks, plan.context if stride >= CONTEXT_STRIDE else 0)

    def forward(
        self, taps: Sequence[Tensor], image: Tensor | None = None, tasks: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """One map [B, C, h', w'] a task.

        Args:
            taps: in the order of ``plan.taps``.
            image: [B, 3, h, w] in 0..255, any real dtype; not looked at without a stem.
            tasks: those wanted; None: all.
        """
        x: Tensor | None = None
        wide = True
        for stride in self.plan.strides:
            if x is not None and wide and stride < self.plan.fine_below:
                x, wide = self.narrow(x), False
            maps = [taps[i] for i, tap in enumerate(self.plan.taps) if tap.stride == stride]
            x = self.levels[f"stride{stride}"](maps, x)
        assert x is not None
        x = self.narrow(x) if wide else x
        if self.plan.stem:
            assert image is not None
            seen = self.stem(image.to(memory_format=torch.channels_last).float() / 127.5 - 1)
            x = F.interpolate(x, seen.shape[-2:], mode="bilinear", align_corners=False)
            x = self.join(torch.cat([x, seen], 1))
        x = self.fine(x)
        return {task: self.out[task](self.own[task](x)).float() for task in (tasks or self.plan.outputs)}

    def standardise(self, means: Sequence[Tensor], deviations: Sequence[Tensor]) -> None:
        """Set what the maps are standardised by: per tap, in the order of ``plan.taps``, [C] each."""
        for stride in self.plan.strides:
            chosen = [i for i, tap in enumerate(self.plan.taps) if tap.stride == stride]
            level = self.levels[f"stride{stride}"]
            level.mean.copy_(torch.cat([means[i] for i in chosen]).view(1, -1, 1, 1))  # type: ignore[operator]
            level.deviation.copy_(  # type: ignore[operator]
                torch.cat([deviations[i] for i in chosen]).clamp_min(1e-3).view(1, -1, 1, 1)
            )

    def fold(self) -> DenseHead:
        """The head for use: normalisation layers folded into the convolutions before them."""
        for module in self.modules():
            if isinstance(module, ConvNorm):
                module.fold()
        return self.eval()
