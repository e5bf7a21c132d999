"""Hair and hats: the scalp blown up inside a smooth hairline, and curtains, buns and tails that start inside it.

Lengths are metres on the template; ``EYE_Z`` is the height of the eyes there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sapiens_bench.render.body import Posing, RestBody
from sapiens_bench.render.human_kit import BODY, Doubles, Ints, Kit, load_kit, triangles
from sapiens_bench.render.parts import Material, Part, plain_part
from sapiens_bench.render.shell import Shell, cut, normals_at_rest, refined

EYE_Z = 0.883
CENTRE_Y = -0.055
STYLES = ("bald", "buzz", "short", "full", "bob", "long", "bun", "tail", "afro")
# hairline: height above the eyes along the head from the forehead (y = -0.16) past the ear to the nape
LINE_Y = (-0.165, -0.14, -0.12, -0.1, -0.088, -0.075, -0.055, -0.035, -0.01, 0.05)
LINE_Z = (0.064, 0.06, 0.045, 0.015, -0.02, -0.035, 0.0, -0.045, -0.075, -0.085)


@dataclass(frozen=True, slots=True)
class Hair:
    style: str  # one of STYLES
    thick_m: float
    length_m: float  # below the eyes, for curtains and tails
    recede_m: float
    hat: bool
    phase: tuple[float, ...]
    is_combed: bool = False  # worn behind the ears, falling without a kick: of styles that are set; drawn ones are not


def draw_hair(rng: np.random.Generator, is_female: bool, age: float) -> Hair:
    shares = (
        [0.01, 0.02, 0.11, 0.1, 0.22, 0.3, 0.1, 0.1, 0.04]
        if is_female
        else [0.1, 0.2, 0.42, 0.17, 0.03, 0.02, 0.02, 0, 0.04]
    )
    style = str(rng.choice(STYLES, p=shares))
    thick = {"bald": 0.0, "buzz": 0.003, "short": 0.011, "full": 0.022, "afro": 0.055}.get(style, 0.015)
    length = {"bob": rng.uniform(0.07, 0.13), "long": rng.uniform(0.16, 0.34), "tail": rng.uniform(0.12, 0.28)}.get(
        style, 0
    )
    recede = 0.0 if is_female else float(max(rng.normal(0.004, 0.006) + (age - 0.7) * 0.05, 0))
    return Hair(style, thick * rng.uniform(0.75, 1.3), length, recede, bool(rng.random() < 0.09),
                tuple(rng.uniform(0, 2 * np.pi, 6)))  # fmt: skip


class Hairdresser:
    """Makes the hair of one head in one pose."""

    def __init__(self, body: RestBody, move: Posing, hair: Hair, kit: Kit) -> None:
        self.body, self.move, self.hair, self.kit = body, move, hair, kit
        head = _head_shell()
        self.faces, self.template, self.skin = head.faces_F3, head.template_S3, head.skin_SB
        self.rest = head.refine(body.vertices_V3[head.coarse_V])
        self.ears = head.refine(kit.masks["ears"][head.coarse_V][:, None])[:, 0]
        scalp = self.template[:, 2] > EYE_Z + 0.03
        self.scale = np.sqrt(self.rest[scalp].var(0) / self.template[scalp].var(0))
        self.shift = self.rest[scalp].mean(0) - self.template[scalp].mean(0) * self.scale

    def parts(self) -> list[Part]:
        hair = self.hair
        parts = []
        if hair.style != "bald":
            thick = min(hair.thick_m, 0.005) if hair.hat else hair.thick_m
            parts.append(self._cap(Material.HAIR, self.scalp_level(), thick, rough=0.28 if thick > 0.006 else 0.0))
        if hair.style in ("bob", "long"):
            parts.append(self._curtain())
        if hair.style == "bun" and not hair.hat:
            centre = np.array([0.0, 0.045 + hair.thick_m, EYE_Z + 0.045])
            parts.append(self._blob(centre, np.array([0.038, 0.034, 0.036])))
        if hair.style == "tail":
            parts.append(self._tail())
        if hair.hat:
            _, y, z = self.template.T
            level = (EYE_Z + 0.04 - 0.28 * (y + 0.13)) - z + 0.2 * np.maximum(-y - 0.15, 0)
            parts.append(self._cap(Material.HAT, level, 0.012, rough=0.0))
        return parts

    def scalp_level(self) -> Doubles:
        """Negative on the scalp, zero at the hairline, metres."""
        x, y, z = self.template.T
        line = (
            EYE_Z
            + np.interp(y, LINE_Y, LINE_Z)
            + self.hair.recede_m * np.clip((-y - 0.08) / 0.04, 0, 1) * (0.6 + np.abs(x) / 0.04)
        )
        wave = 0.0016 * np.sin(130 * x + self.hair.phase[0]) + 0.0012 * np.sin(210 * y + 90 * x)
        return np.asarray(np.maximum(line + wave - z, 0.4 * self.ears - 0.15))

    def _cap(self, material: Material, level: Doubles, thick: float, rough: float) -> Part:
        normal = normals_at_rest(self.rest, self.faces)
        x, y, z = self.template.T
        angle = np.arctan2(x, y - CENTRE_Y)
        wave = np.sin(17 * angle + 40 * z + self.hair.phase[1]) * np.sin(60 * z + 9 * angle + self.hair.phase[2])
        wave = wave + 0.6 * np.sin(41 * angle + 25 * z + self.hair.phase[3])
        rise = np.clip(-level / (0.012 + 0.9 * thick), 0, 1)
        rise = np.sqrt(rise * (2 - rise))  # a rounded edge
        offset = 0.0012 + thick * rise * (1 + rough * 0.5 * wave)
        made = self.rest + normal * offset[:, None]
        piece = cut(self.faces, level)
        posed = self.move.apply(made, self.skin)
        return plain_part(material, piece.carry(posed), piece.faces_F3, piece.carry(self.template))

    def _placed(self, template_N3: Doubles, faces: Ints, n_rows: int = 0) -> Part:
        """Geometry given on the template, fitted to this head and posed with it (lower parts follow the chest).

        Args:
            n_rows: of a curtain, from the top down: what the back pushes out low down comes out further up as well.
        """
        fitted = template_N3 * self.scale + self.shift
        rest = self._push_out(fitted)
        if n_rows:
            rest[:, 1] += _spread((rest - fitted)[:, 1].reshape(n_rows, -1)).ravel() - (rest - fitted)[:, 1]
        with_head = np.clip((template_N3[:, 2] - (EYE_Z - 0.2)) / 0.14, 0, 1)
        weights = np.zeros((len(rest), len(self.kit.bones)))
        weights[:, self.kit.bones["head"]] = with_head
        weights[:, self.kit.bones["spine01"]] = 1 - with_head
        return plain_part(Material.HAIR, self.move.apply(rest, weights), faces, template_N3)

    def _push_out(self, rest: Doubles) -> Doubles:
        """Hair behind the neck and back is kept off the body."""
        vertices = self.body.vertices_V3
        z = self.kit.mean_V3[:, 2]
        near = vertices[(z > 0.3) & (z < 0.78) & (np.abs(vertices[:, 0]) < 0.16) & (vertices[:, 1] > -0.02)]
        low = np.flatnonzero((rest[:, 2] < near[:, 2].max()) & (rest[:, 1] > self.shift[1] + CENTRE_Y))
        if not len(low):
            return rest
        close = (np.abs(rest[low, None, 0] - near[None, :, 0]) < 0.03) & (
            np.abs(rest[low, None, 2] - near[None, :, 2]) < 0.03
        )
        behind = np.where(close, near[None, :, 1], -1).max(1) + 0.03
        out = rest.copy()
        out[low, 1] = np.maximum(out[low, 1], behind)
        return out

    def _curtain(self) -> Part:
        hair = self.hair
        reach = np.deg2rad(84 if hair.is_combed else 112 if hair.style == "bob" else 100)
        angle = np.linspace(-reach, reach, 61)
        down = np.linspace(0, 1, 22)
        a, d = np.meshgrid(angle, down)
        ends = hair.length_m + 0.012 * np.sin(9 * angle + hair.phase[0]) + 0.008 * np.sin(23 * angle + hair.phase[1])
        if hair.is_combed:  # shorter towards the front, as hair that is parted there is
            ends = hair.length_m - 0.35 * hair.length_m * (angle / reach) ** 4 + 0.003 * np.sin(23 * angle)
        z = EYE_Z + 0.055 - d * (0.055 + ends)
        clump = np.sin(15 * a + hair.phase[2] + 2 * d) + 0.6 * np.sin(37 * a + hair.phase[3])
        grow = np.clip((0.055 - (z - EYE_Z)) / 0.05, 0, 1)
        fall = np.clip((EYE_Z - 0.06 - z) / 0.1, 0, 1)  # below the jaw it comes in to the neck
        radius_x = 0.079 + hair.thick_m * (0.55 + 0.45 * grow) + 0.0022 * clump * grow - 0.008 * fall
        radius_y = 0.103 + hair.thick_m * (0.55 + 0.45 * grow) + 0.0022 * clump * grow - 0.022 * fall
        front = np.clip((np.abs(a) - 1.35) / 0.5, 0, 1)
        points = np.stack([radius_x * np.sin(a), CENTRE_Y + radius_y * np.cos(a) - 0.012 * front * grow, z], -1)
        return self._placed(points.reshape(-1, 3), _grid_faces(*a.shape), len(down) if hair.is_combed else 0)

    def _blob(self, centre: Doubles, radii: Doubles) -> Part:
        u, v = np.meshgrid(np.linspace(0, 2 * np.pi, 33), np.linspace(0.02, np.pi - 0.02, 17))
        wave = 1 + 0.05 * np.sin(9 * u + 5 * v + self.hair.phase[0])
        sphere = np.stack([np.cos(u) * np.sin(v), np.sin(u) * np.sin(v), np.cos(v)], -1) * wave[..., None]
        return self._placed((sphere * radii + centre).reshape(-1, 3), _grid_faces(*u.shape))

    def _tail(self) -> Part:
        around, down = np.meshgrid(np.linspace(0, 2 * np.pi, 25), np.linspace(0, 1, 22))
        length = self.hair.length_m + 0.05
        y = 0.03 + self.hair.thick_m + 0.05 * np.sin(np.clip(down * 1.4, 0, 1) * np.pi / 2) - 0.02 * down
        z = EYE_Z + 0.05 - length * down**1.3
        radius = 0.024 * np.sqrt(np.clip(1.02 - down, 0, 1)) * (0.55 + 0.45 * np.clip(down * 5, 0, 1)) + 0.001
        radius = radius * (1 + 0.06 * np.sin(7 * around + self.hair.phase[0]))
        points = np.stack([radius * np.cos(around), y + radius * np.sin(around), z + 0.4 * radius * np.sin(around)], -1)
        return self._placed(points.reshape(-1, 3), _grid_faces(*around.shape))


def _spread(out_RC: Doubles) -> Doubles:
    """How far rows of a curtain come out, given how far each must: no row less than those below it allow for.

    A row comes out by at least what the row below does less a ninth of the most, and neighbouring columns alike.
    """
    step = out_RC.max() / 9
    spread = out_RC.copy()
    for row in range(len(spread) - 2, -1, -1):
        spread[row] = np.maximum(spread[row], spread[row + 1] - step)
    for _ in range(4):
        beside = np.concatenate([spread[:, :1], spread, spread[:, -1:]], 1)
        spread = np.maximum(spread, (beside[:, :-2] + beside[:, 2:]) / 2)
    return spread


@lru_cache(maxsize=1)
def _head_shell() -> Shell:
    """The upper head, refined; built once per process."""
    kit = load_kit()
    quads = kit.quads(BODY)
    z = kit.mean_V3[:, 2]
    chosen = (z[quads] > EYE_Z - 0.13).all(1) & (kit.weight_of("head", "neck")[quads] > 0.3).all(1)
    outside = (z[quads] > EYE_Z + 0.02).all(1) | (kit.mean_V3[:, 1][quads] > -0.125).all(1)  # no face, no mouth
    return refined(quads[chosen & outside])


def _grid_faces(rows: int, columns: int) -> Ints:
    at = np.arange(rows * columns).reshape(rows, columns)
    quads = np.stack([at[:-1, :-1], at[1:, :-1], at[1:, 1:], at[:-1, 1:]], -1).reshape(-1, 4)
    return triangles(quads)
