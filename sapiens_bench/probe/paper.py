"""Class weights of the released Sapiens v1 segmentation configurations, by the number of classes.

Source: facebookresearch/sapiens, seg/configs/sapiens_seg/{goliath,lip,cihp}, ``class_weight`` of the cross entropy.
"""

from __future__ import annotations

_PARTS20 = (
    0.1, 1.5, 1.0, 1.5, 1.5, 0.8, 1.2, 1.0, 1.5, 0.8, 1.2, 1.5, 1.5, 0.7, 1.0, 1.0, 1.0, 1.0, 1.5, 1.5,
)  # fmt: skip
_BODY28 = (
    0.1, 10.0, 3.0, 2.0, 4.0, 4.0, 2.0, 2.0, 6.0, 10.0, 3.0, 3.0, 1.0, 4.0, 4.0, 2.0, 2.0, 6.0, 10.0, 3.0, 3.0, 1.0,
    1.0, 10.0, 10.0, 10.0, 10.0, 10.0,
)  # fmt: skip
PAPER_CLASS_WEIGHTS: dict[int, tuple[float, ...]] = {20: _PARTS20, 28: _BODY28}
