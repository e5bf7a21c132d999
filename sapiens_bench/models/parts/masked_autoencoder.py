"""A Sapiens v1 pre-training checkpoint whole: patches are hidden, and the decoder paints them.

Architecture facts: facebookresearch/sapiens, ``pretrain/mmpretrain/models/necks/mae_neck.py`` (decoder) and
``heads/mae_head.py`` (pixels normalised patch by patch, colours last in a patch); He et al., "Masked Autoencoders Are
Scalable Vision Learners" (CVPR 2022). ``_clean`` files hold the encoder alone and are refused.

Axes: B pictures, N patches, D channels, P = 16 * 16 * 3 values of a patch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sapiens_bench.errors import CheckpointRejected, UsageError
from sapiens_bench.models.parts.checkpoints import only_prefix, open_state
from sapiens_bench.models.parts.dense_view import framed
from sapiens_bench.models.parts.trunk_sapiens import MEAN, STD
from sapiens_bench.models.sapiens_load import load_encoder
from sapiens_bench.models.sapiens_net import PATCH, Block, Encoder, EncoderConfig

HEADS = 16  # of the released decoders' attention; no tensor tells it
RATIOS = (0.75, 0.95)  # the released pre-training hides 0.75; the paper shows up to 0.95


class Decoder(nn.Module):
    """Seen tokens, class token first -> values of every patch; the parameter names of the official files."""

    def __init__(self, incoming: int, width: int, depth: int, hidden: int, tokens: int, heads: int) -> None:
        super().__init__()
        block = EncoderConfig(width, depth, heads, hidden, (1, tokens - 1))
        self.decoder_embed = nn.Linear(incoming, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.decoder_pos_embed = nn.Parameter(torch.zeros(1, tokens, width), requires_grad=False)
        self.decoder_blocks = nn.ModuleList(Block(block) for _ in range(depth))
        self.ln1 = nn.LayerNorm(width, eps=1e-6)
        self.decoder_pred = nn.Linear(width, 3 * PATCH**2)

    def forward(self, seen: Tensor, restore_BN: Tensor) -> Tensor:
        """[B, 1 + n, D] and the place of every patch in the list "seen, then hidden" -> [B, N, P]."""
        x = self.decoder_embed(seen)
        hidden = self.mask_token.expand(len(x), restore_BN.shape[1] + 1 - x.shape[1], -1)
        patches = torch.cat([x[:, 1:], hidden], 1)
        patches = torch.gather(patches, 1, restore_BN[..., None].expand(-1, -1, x.shape[2]))
        x = torch.cat([x[:, :1], patches], 1) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            x = block(x)
        found: Tensor = self.decoder_pred(self.ln1(x))[:, 1:]
        return found


@dataclass(frozen=True)
class Reconstruction:
    """Three pictures of one size, uint8 [h, w, 3]."""

    picture: NDArray[np.uint8]
    masked: NDArray[np.uint8]  # hidden patches grey
    painted: NDArray[np.uint8]  # hidden patches as the decoder sees them
    error: float  # mean squared error of hidden patches, normalised: 1 is what their mean colours give


class MaskedAutoencoder:
    """Encoder and decoder of one file.

    Raises:
        CheckpointRejected: the file holds no decoder, or one of other shapes.
    """

    def __init__(self, weights: Path, heads: int = HEADS, encoder_heads: int | None = None) -> None:
        state = only_prefix(open_state(weights).state, "neck.")
        if not state:
            raise CheckpointRejected(
                f"{weights} holds no decoder (no tensor named neck.*): an encoder alone cannot paint. Take the file of "
                "the whole pre-training, without _clean in its name."
            )
        self.encoder: Encoder = load_encoder(weights, heads=encoder_heads)
        self.encoder.float()
        try:
            width, incoming = state["decoder_embed.weight"].shape
            depth = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("decoder_blocks."))
            hidden = state["decoder_blocks.0.ffn.layers.0.0.weight"].shape[0]
            self.decoder = Decoder(incoming, width, depth, hidden, state["decoder_pos_embed"].shape[1], heads)
            self.decoder.load_state_dict(state)
        except (KeyError, ValueError, RuntimeError) as error:
            said = str(error).replace("\n", " ")
            raise CheckpointRejected(f"{weights}: its decoder cannot be used: {said:.200}") from None
        self.decoder.float().eval()

    @torch.inference_mode()
    def reconstruct(self, image_HW3: NDArray[np.uint8], ratio: float, seed: int = 0) -> Reconstruction:
        """Hide a share of the patches, drawn with a seed, and paint them.

        The decoder gives pixels normalised patch by patch; mean and deviation are those of the true patch, as in the
        released code, so colours of hidden patches are no evidence of what the network knows; their structure is.

        Raises:
            UsageError: the ratio is not between 0 and 1, or leaves nothing to see or to hide.
        """
        rows, columns = self.encoder.config.grid_hw
        n = rows * columns
        n_seen = int(n * (1 - ratio))
        if not 0 < n_seen < n:
            raise UsageError(f"A mask ratio of {ratio:g} leaves {n_seen} of {n} patches to see; between 0 and 1.")
        picture, _ = framed(image_HW3, (rows * PATCH, columns * PATCH))
        image = torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1)[None]
        image = (image - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
        order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
        seen, restore = order[:n_seen], torch.argsort(order)
        values = self.decoder(self._encoded(image, seen), restore[None])[0]
        truth = patches_of(image)[0]
        mean, deviation = truth.mean(1, keepdim=True), (truth.var(1, keepdim=True) + 1e-6).sqrt()
        hidden = torch.ones(n, dtype=torch.bool)
        hidden[seen] = False
        error = ((values - (truth - mean) / deviation) ** 2)[hidden].mean()
        painted = torch.where(hidden[:, None], values * deviation + mean, truth)
        grey = torch.where(hidden[:, None], torch.zeros_like(truth), truth)
        grid = (rows, columns)
        return Reconstruction(picture, _bytes(grey, grid), _bytes(painted, grid), float(error))

    def _encoded(self, image: Tensor, seen: Tensor) -> Tensor:
        tokens, _ = self.encoder.patch_tokens(image)
        table = self.encoder.pos_embed
        x = torch.cat([self.encoder.cls_token + table[:, :1], (tokens + table[:, 1:])[:, seen]], 1)
        for layer in self.encoder.layers:
            x = layer(x)
        found: Tensor = self.encoder.ln1(x)
        return found


def patches_of(image: Tensor) -> Tensor:
    """[B, 3, h, w] -> [B, N, P], row by row; within a patch rows, columns, then colours."""
    batch, _, height, width = image.shape
    x = image.view(batch, 3, height // PATCH, PATCH, width // PATCH, PATCH)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, 3 * PATCH**2)


def _bytes(patches: Tensor, grid: tuple[int, int]) -> NDArray[np.uint8]:
    rows, columns = grid
    x = patches.view(rows, columns, PATCH, PATCH, 3).permute(0, 2, 1, 3, 4).reshape(rows * PATCH, columns * PATCH, 3)
    x = x * torch.tensor(STD) + torch.tensor(MEAN)
    return np.asarray(x.clamp(0, 255).round().to(torch.uint8).numpy())
