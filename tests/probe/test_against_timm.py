"""Learning rates beside timm's, where that is installed: schedules are equal, parameter groups are not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from sapiens_bench.probe.optim import layer_decay
from sapiens_bench.probe.schedule import WARM_UP_START, Decay, factor

pytest.importorskip("timm")
STEPS = 400


def timm_factors(decay: Decay, warm_up: int) -> list[float]:
    """Rates of timm's scheduler at a base rate of 1, whose decay begins after the warm-up as ours does."""
    from timm.scheduler import CosineLRScheduler, PolyLRScheduler

    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    same: dict[str, Any] = {"t_initial": STEPS - warm_up, "lr_min": 0.0, "warmup_t": warm_up, "warmup_prefix": True}
    same |= {"warmup_lr_init": WARM_UP_START, "t_in_epochs": False}
    if decay == "cosine":
        scheduler: Any = CosineLRScheduler(optimizer, **same)
    else:
        scheduler = PolyLRScheduler(optimizer, power=0.9 if decay == "poly" else 1.0, **same)
    found = []
    for step in range(STEPS):
        scheduler.step_update(step)
        found.append(float(optimizer.param_groups[0]["lr"]))
    return found


@pytest.mark.parametrize("warm_up", [0, 50])
@pytest.mark.parametrize("decay", ["cosine", "linear", "poly"])
def test_every_rate_of_a_training_is_that_of_timms_scheduler(decay: Decay, warm_up: int) -> None:
    ours = [factor(step, STEPS, warm_up, decay) for step in range(STEPS)]
    assert ours == pytest.approx(timm_factors(decay, warm_up), abs=1e-14)


def test_timms_groups_of_a_vit_differ_in_the_last_norm_and_the_class_token_alone() -> None:
    """The reason why they are not used: the goldens of the released configurations have that norm at the full rate."""
    import timm
    from timm.optim import param_groups_layer_decay

    net = timm.create_model("test_vit")
    named = {f"backbone.{name.replace('blocks.', 'layers.')}": p for name, p in net.named_parameters()}
    ours = layer_decay(named.items(), num_layers=len(net.blocks), rate=0.85, lr=1.0, weight_decay=0.1)
    for spared, others in (({"pos_embed"}, set[str]()), (net.no_weight_decay(), {"backbone.cls_token"})):
        groups = param_groups_layer_decay(net, weight_decay=0.1, no_weight_decay_list=spared, layer_decay=0.85)
        theirs = {id(p): (g["lr_scale"], g["weight_decay"]) for g in groups for p in g["params"]}
        assert len(theirs) == len(named) > 20
        different = {
            name
            for name, parameter in named.items()
            if (ours[name]["lr_scale"], ours[name]["weight_decay"]) != pytest.approx(theirs[id(parameter)])
        }
        assert different == {"backbone.norm.weight", "backbone.norm.bias", *others}
    assert ours["backbone.norm.weight"]["lr_scale"] == 1.0
