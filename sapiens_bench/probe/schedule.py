"""Learning rates over the steps of a training: linear warm-up, then a decay.

Equal to timm's ``CosineLRScheduler`` and ``PolyLRScheduler`` with ``warmup_prefix`` (tested to 1e-14), which are not
used: shipped trunks need no timm, and a rate that follows from the step's number alone has no state to resume.
"""

from __future__ import annotations

import math
from typing import Literal

Decay = Literal["cosine", "linear", "poly", "constant"]
WARM_UP_START = 1e-3  # factor of the first step, as in the released Sapiens v1 configurations
POWER = 0.9  # of poly


def factor(step: int, n_steps: int, warm_up: int, decay: Decay) -> float:
    """What the learning rate is multiplied by at ``step`` (0 ... n_steps - 1).

    Over the warm-up it grows linearly from 1e-3 to 1; then it falls to 0 at ``n_steps``: linearly, along half a cosine,
    or as (1 - t)^0.9.
    """
    if step < warm_up:
        return WARM_UP_START + (1 - WARM_UP_START) * step / warm_up
    t = (step - warm_up) / max(n_steps - warm_up, 1)
    if decay == "cosine":
        return 0.5 * (1 + math.cos(math.pi * t))
    if decay == "linear":
        return 1 - t
    if decay == "poly":
        return float((1 - t) ** POWER)
    return 1.0
