"""One property of hair or clothes set instead of drawn; everything else of the outfit stays as it was drawn.

Lengths are metres on the template, as in ``garments`` and ``hair``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from sapiens_bench.render.garments import Top, Wardrobe
from sapiens_bench.render.hair import Hair

HAIRSTYLES: Mapping[str, tuple[float, float]] = {  # thickness, length below the eyes
    "bald": (0.0, 0.0), "short": (0.011, 0.0), "bob": (0.015, 0.1), "long": (0.015, 0.26), "bun": (0.015, 0.0),
    "tail": (0.015, 0.2), "afro": (0.055, 0.0),
}  # fmt: skip
SEATED = ("sit", "squat")  # families of poses in which the trunk rests on the thighs
SEATED_HEM_M = 0.14  # a lower hem would hang between the thighs
_TEE = Top(sleeve_m=0.17, hem_m=0.1, collar="crew", loose_m=0.018, smooth=9, fold_m=0.003)  # on a bare chest


def fallen(wear: Wardrobe, hair: Hair, family: str) -> tuple[Wardrobe, Hair]:
    """An outfit as drawn, mended: hair behind the ears, in one sheet; the top of who sits ends above the lap."""
    top = wear.top
    if top is not None and family in SEATED:
        wear = replace(wear, top=replace(top, hem_m=max(top.hem_m, SEATED_HEM_M)))
    return wear, replace(hair, is_combed=True)


def with_style(hair: Hair, style: str) -> Hair:
    """The hair cut in a style of ``HAIRSTYLES``, without a hat, worn behind the ears; hairline and waves stay."""
    thick_m, length_m = HAIRSTYLES[style]
    return replace(hair, style=style, thick_m=thick_m, length_m=length_m, hat=False, is_combed=True)


def with_garment(wear: Wardrobe, garment: str) -> Wardrobe:
    """What is worn, with one property set: a key of ``GARMENTS``."""
    return GARMENTS[garment](wear)


def _sleeves(length_m: float) -> Callable[[Wardrobe], Wardrobe]:
    return lambda wear: replace(wear, top=replace(wear.top or _TEE, sleeve_m=length_m))


def _legs(length_m: float) -> Callable[[Wardrobe], Wardrobe]:
    return lambda wear: replace(wear, bottom=replace(wear.bottom, leg_m=length_m, is_skirt=False))


def _skirt(length_m: float) -> Callable[[Wardrobe], Wardrobe]:
    """The top ends below the waist: a longer one would show inside the skirt of someone who sits."""

    def skirted(wear: Wardrobe) -> Wardrobe:
        bottom = replace(wear.bottom, leg_m=length_m, is_skirt=True)
        top = wear.top and replace(wear.top, hem_m=max(wear.top.hem_m, bottom.waist_m - 0.09))
        return replace(wear, bottom=bottom, top=top)

    return skirted


def _fit(top_m: float, bottom_m: float, folds: float) -> Callable[[Wardrobe], Wardrobe]:
    """Room between body and cloth; folds as a share of the usual depth."""

    def fitted(wear: Wardrobe) -> Wardrobe:
        top = wear.top and replace(wear.top, loose_m=top_m, fold_m=0.004 * folds)
        return replace(wear, top=top, bottom=replace(wear.bottom, loose_m=bottom_m, fold_m=0.004 * folds))

    return fitted


GARMENTS: Mapping[str, Callable[[Wardrobe], Wardrobe]] = {
    "short_sleeves": _sleeves(0.17),
    "long_sleeves": _sleeves(0.515),
    "shorts": _legs(0.3),
    "trousers": _legs(0.86),
    "skirt": _skirt(0.5),
    "loose": _fit(0.036, 0.022, 1.25),
    "tight": _fit(0.002, 0.002, 0.25),
    "sleeveless": _sleeves(0.0),
}
