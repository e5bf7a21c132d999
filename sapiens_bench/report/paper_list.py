"""Which tables of the papers can be printed, of which entries each is made, and what its columns are called."""

from __future__ import annotations

from typing import NamedTuple


class Part(NamedTuple):
    """One data set of a table: the published entry, and which of our protocols ask the same question."""

    entry: str
    protocols: str  # glob over "<data set>/<protocol>"


TABLES: dict[str, tuple[str, tuple[Part, ...]]] = {  # name -> task, parts in printed order
    "paper-pose": ("pose", (Part("sapiens1-t3-humans-5k", "humans-5k/*"),)),
    "paper-seg": ("seg", (Part("sapiens1-t4-humans-2k", "humans-2k/*"),)),
    "paper-depth": (
        "depth",
        (
            Part("sapiens1-t5-thuman2-face", "thuman2/depth-face"),
            Part("sapiens1-t5-thuman2-upper", "thuman2/depth-upper"),
            Part("sapiens1-t5-thuman2-full", "thuman2/depth-full"),
            Part("sapiens1-t5-hi4d", "hi4d/depth-*"),
        ),
    ),
    "paper-normal": (
        "normal",
        (Part("sapiens1-t6-thuman2", "thuman2/normal"), Part("sapiens1-t6-hi4d", "hi4d/normal-*")),
    ),
    "paper-albedo": ("albedo", (Part("sapiens2-t7", "none/*"),)),  # its 10,000 renders were never released
    "paper-pointmap": ("pointmap", (Part("sapiens2-t5", "*/pointmap-canonical"),)),  # nor its 10,000 pictures
}
TITLES = {  # of scores that no run here has
    "miou": "mIoU", "macc": "mAcc", "rmse": "RMSE", "abs_rel": "AbsRel", "delta1": "δ1", "mean_deg": "mean",
    "median_deg": "median", "below_11_25": "<11.25°", "below_22_5": "<22.5°", "below_30": "<30°", "mae": "MAE",
    "l2": "L2", "mae_x": "MAE x", "mae_y": "MAE y", "mae_z": "MAE z", "psnr": "PSNR", "ssim": "SSIM",
    "grad_l1": "Grad L1",
}  # fmt: skip
