"""The counting convention of Sapiens, Table 2, so that its column can be reproduced and set beside the true cost.

Source: Khirodkar et al., Sapiens, ECCV 2024, Table 2. Its parameters are those of the whole masked autoencoder (He et
al., CVPR 2022) at 1024 x 1024: encoder with class token and position table, and a decoder of width 512, 8 layers. Its
FLOPs are what the analyser of the official ``engine`` fork prints: MACs of linear and convolution layers plus five per
normalised value, in the encoder with class token; the products inside attention are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

INPUT = 1024  # pixels, both sides
PATCH = 16
PATCH_VALUES = 3 * PATCH * PATCH
GRID_TOKENS = (INPUT // PATCH) ** 2
MLP_RATIO = 4
DECODER_WIDTH, DECODER_DEPTH = 512, 8
NORM_COST = 5  # operations per normalised value, as the analyser has it


@dataclass(frozen=True, slots=True)
class Encoder:
    """Sizes of a plain vision transformer."""

    width: int
    depth: int


def block_parameters(width: int) -> int:
    """Weights and biases of one pre-norm block: qkv, projection, two MLP layers, two norms."""
    matrices = (4 + 2 * MLP_RATIO) * width * width
    biases = (3 + 1 + MLP_RATIO + 1) * width
    return matrices + biases + 4 * width


def encoder_parameters(encoder: Encoder, tokens: int = GRID_TOKENS + 1) -> int:
    """Patch embedding, class token (counted in ``tokens`` and once more as a vector), position table, blocks, norm."""
    d = encoder.width
    class_token = d if tokens % 2 else 0
    return PATCH_VALUES * d + d + class_token + tokens * d + encoder.depth * block_parameters(d) + 2 * d


def mae_parameters(encoder: Encoder) -> int:
    """Everything that pre-training stores: the encoder, and the decoder with its own position table."""
    w = DECODER_WIDTH
    embed = encoder.width * w + w
    predict = w * PATCH_VALUES + PATCH_VALUES
    decoder = embed + w + (GRID_TOKENS + 1) * w + DECODER_DEPTH * block_parameters(w) + 2 * w + predict
    return encoder_parameters(encoder) + decoder


def paper_macs(encoder: Encoder) -> int:
    """The printed "FLOPs": N 12 D^2 L + 4096 x 768 D + 5 (2 L + 1) N D with N = 4097 tokens."""
    n, d, depth = GRID_TOKENS + 1, encoder.width, encoder.depth
    blocks = n * (4 + 2 * MLP_RATIO) * d * d * depth
    return blocks + GRID_TOKENS * PATCH_VALUES * d + NORM_COST * (2 * depth + 1) * n * d


def true_macs(encoder: Encoder) -> int:
    """All MACs of that encoder at that input: linear layers, patch embedding, and both products inside attention."""
    n, d, depth = GRID_TOKENS + 1, encoder.width, encoder.depth
    linear = n * (4 + 2 * MLP_RATIO) * d * d * depth + GRID_TOKENS * PATCH_VALUES * d
    return linear + 2 * n * n * d * depth
