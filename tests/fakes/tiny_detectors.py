"""Detectors with random weights that are small enough for a test and find something."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def write_rtdetr(folder: Path, labels: dict[int, str] | None = None) -> Path:
    """An RT-DETR folder in the Hugging Face layout; people are class 1 of 2."""
    from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrResNetConfig
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    backbone = RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8, 16, 16],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = RTDetrConfig(
        backbone_config=backbone,
        encoder_hidden_dim=16,
        encoder_in_channels=[8, 16, 16],
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        encoder_layers=1,
        d_model=16,
        num_queries=12,
        decoder_in_channels=[16, 16, 16],
        decoder_ffn_dim=16,
        decoder_attention_heads=2,
        decoder_layers=2,
        num_denoising=0,
        id2label=labels or {0: "dog", 1: "person"},
    )
    torch.manual_seed(0)
    net = RTDetrForObjectDetection(config).eval()
    with torch.no_grad():  # as it comes, every query of an untrained network gives the same box
        for parameter in net.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 2 * parameter[0].numel() ** -0.5)
        found = net(torch.rand(1, 3, 640, 640)).logits[0]
        net.model.decoder.class_embed[-1].bias -= found.mean(dim=0)  # both classes are found
    net.save_pretrained(folder)
    return folder


def write_rcnn(path: Path, architecture: str, **sizes: Any) -> tuple[Path, torch.nn.Module]:
    """A torchvision detector of three classes as a state-dict file, and the network itself."""
    from torchvision.models import detection

    torch.manual_seed(1)
    net = getattr(detection, architecture)(weights=None, weights_backbone=None, num_classes=3, **sizes).eval()
    torch.save(net.state_dict(), path)
    return path, net
