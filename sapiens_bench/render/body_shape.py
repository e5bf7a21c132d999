"""One trait of a body changed alone: along the direction in which the kit's bodies differ when that trait does.

The kit's 480 bodies are linear in their coefficients, and their traits are known. A least-squares fit over them tells
how the coefficients change with one trait while the others stay. It is a fit: a body moved along "age" is one of the
same sex, weight and height on average, not that very person at another age.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from sapiens_bench.render.body import RestBody
from sapiens_bench.render.human_kit import BODY, Doubles, Ints, Kit, load_kit

AGE_YEARS, AGE_KIT = (10.0, 25.0, 80.0), (0.5, 0.67, 1.0)  # of MakeHuman's age scale; between them straight lines
TRAITS = ("gender", "age", "weight", "height", "muscle")  # columns of Kit.attributes_N5


@dataclass(frozen=True, slots=True)
class BodyRedraw:
    """Traits that are set instead of drawn; None: as drawn."""

    age_years: float | None = None
    weight: float | None = None  # 0 thin to 1 heavy, the kit's scale
    height_m: float | None = None
    gender: float | None = None  # of the shape: 0 male to 1 female


AS_BORN = BodyRedraw()


def age_years(kit_age: float) -> float:
    """Years of the kit's age scale."""
    return float(np.interp(kit_age, AGE_KIT, AGE_YEARS))


def reshaped(body: RestBody, redraw: BodyRedraw, kit: Kit) -> RestBody:
    """The body with the traits that are set; joints move with the shape."""
    if redraw == AS_BORN:
        return body
    traits = body.traits
    if redraw.age_years is not None:
        kit_age = float(np.interp(redraw.age_years, AGE_YEARS, AGE_KIT))
        body = _moved(body, "age", kit_age - traits.age, kit)
        traits = replace(traits, age=kit_age)
    if redraw.weight is not None:
        body = _moved(body, "weight", redraw.weight - traits.weight, kit)
        traits = replace(traits, weight=redraw.weight)
    if redraw.gender is not None:
        body = _moved(body, "gender", redraw.gender - traits.gender, kit)
        traits = replace(traits, gender=redraw.gender)
    if redraw.height_m is not None:
        per_unit = stature(_moved(body, "height", 1.0, kit)) - stature(body)
        step = (redraw.height_m - stature(body)) / per_unit
        body = _moved(body, "height", step, kit)
        traits = replace(traits, height=traits.height + step)
    return RestBody(body.vertices_V3, body.heads_B3, traits)


def stature(body: RestBody) -> float:
    """Height of the bare body, standing upright, metres."""
    z = body.vertices_V3[_body_vertices(), 2]
    return float(z.max() - z.min())


def _moved(body: RestBody, trait: str, by: float, kit: Kit) -> RestBody:
    offset = by * _directions()[TRAITS.index(trait)]
    n = len(kit.mean_V3)
    return RestBody(body.vertices_V3 + offset[:n], body.heads_B3 + offset[n:], body.traits)


@lru_cache(maxsize=1)
def _body_vertices() -> Ints:
    return np.asarray(np.unique(load_kit().quads(BODY)))


@lru_cache(maxsize=1)
def _directions() -> Doubles:
    """Change of vertices and bone heads per unit of each trait, [5, V + B, 3] metres."""
    kit = load_kit()
    known = np.concatenate([np.ones((len(kit.attributes_N5), 1)), kit.attributes_N5], 1)
    per_trait = np.linalg.lstsq(known, kit.identities_NC, rcond=None)[0][1:]
    return np.asarray(np.tensordot(per_trait, kit.basis_CP3.astype(np.float64), 1))
