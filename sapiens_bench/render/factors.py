"""One factor of a scene at a time: what may be set to a level while every other draw keeps its bits.

Factors of appearance leave geometry (people, poses, garments, room, seats, camera) alone: it comes from streams of its
own, so labels, depth, normals and keypoints of a picture are bit-equal at every level; sensor noise is too. Factors of
geometry change the truth with the picture: the same people in the same poses and clothes under the same light, seen by
the same camera but for the one thing that is set. Two of them, hair and clothing, leave body, pose, camera and with
them the places of keypoints; labels, depth and normals change where cloth or hair comes or goes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from sapiens_bench.errors import UnknownName, UsageError
from sapiens_bench.render.body_shape import AS_BORN, BodyRedraw
from sapiens_bench.render.outfit import GARMENTS, HAIRSTYLES

Rgb = tuple[int, int, int]  # sRGB, 0..255
HAIR: Mapping[str, Rgb] = {
    "black": (22, 18, 16), "brown": (62, 42, 28), "red": (120, 54, 28), "blond": (190, 156, 104),
    "grey": (150, 148, 146),
}  # fmt: skip
CLOTHES: Mapping[str, Rgb] = {
    "black": (32, 32, 36), "grey": (120, 122, 126), "white": (236, 236, 232), "red": (150, 36, 40),
    "green": (52, 84, 56), "blue": (58, 84, 128), "skin": (210, 158, 120),
}  # fmt: skip
BACKGROUNDS: Mapping[str, Rgb] = {
    "black": (20, 20, 20), "dark": (70, 70, 70), "grey": (125, 125, 125), "light": (185, 185, 185),
    "white": (240, 240, 240),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Redraw:
    """What is set instead of drawn; None: as drawn."""

    skin_tone: float | None = None  # 0 (lightest) to 6 (darkest): position along person.SKIN_TONES
    hair: Rgb | None = None
    cloth: Rgb | None = None  # of all garments but shoes and socks, without pattern
    background: Rgb | None = None  # of walls, floor and furniture, without pattern; seats and sky stay
    light_turn_deg: float | None = None  # 0 from behind the camera, positive from the right of the picture
    light_stops: float | None = None  # all light times 2 ** stops
    hairstyle: str | None = None  # of outfit.HAIRSTYLES; hats come off
    garment: str | None = None  # of outfit.GARMENTS: one property of what is worn
    body: BodyRedraw = AS_BORN
    pitch_deg: float | None = None  # the camera looks down by so much, as far from what it frames as before
    focal: float | None = None  # in heights of the picture; the camera moves so that people stay as large
    distance: float | None = None  # times the distance drawn
    cut_off: float | None = None  # of the first person's rows in the picture: share that its lower edge cuts off
    hidden: float | None = None  # of the same rows: share that a board in front hides, from below
    people: int | None = None

    @property
    def is_outfit(self) -> bool:
        """Cut of hair or clothes is set."""
        return self.hairstyle is not None or self.garment is not None

    @property
    def of_people(self) -> Redraw:
        """The part that people are made from."""
        return Redraw(
            skin_tone=self.skin_tone, hair=self.hair, cloth=self.cloth, hairstyle=self.hairstyle, garment=self.garment,
            body=self.body,
        )  # fmt: skip

    @property
    def is_appearance(self) -> bool:
        """Geometry, and with it all ground truth, is that of the scene as drawn."""
        return (
            replace(self, skin_tone=None, hair=None, cloth=None, background=None, light_turn_deg=None, light_stops=None)
            == Redraw()
        )


AS_DRAWN = Redraw()


@dataclass(frozen=True, slots=True)
class Factor:
    """One factor and its levels."""

    what: str
    to_redraw: Callable[[str], Redraw]
    names: tuple[str, ...] = ()  # of the levels, where they are names
    span: tuple[float, float] | None = None  # of the levels, where they are numbers

    def levels(self, n: int) -> tuple[str, ...]:
        """``n`` levels: the first names, or numbers evenly from one end of the span to the other.

        Raises:
            UsageError: fewer than two, or more names than there are.
        """
        most = len(self.names) or 50
        if not 2 <= n <= most:
            raise UsageError(f"--levels {n}: give 2 to {most} levels, or name them.")
        if self.span is None:
            return self.names[:n]
        low, high = self.span
        return tuple(f"{low + (high - low) * i / (n - 1):g}" for i in range(n))

    def check(self, name: str, level: str) -> None:
        """Whether there is such a level.

        Raises:
            UnknownName: no. UsageError: no number, or one outside the span.
        """
        if self.span is None:
            if name == "clothing" and level in CLOTHES:
                raise UsageError(f"level {level!r} of clothing: colours are levels of clothing_colour.")
            if level not in self.names:
                raise UnknownName(f"level of {name}", level, self.names)
            return
        try:
            inside = self.span[0] <= float(level) <= self.span[1]
        except ValueError:
            inside = False
        if not inside:
            raise UsageError(f"level {level!r} of {name}: give a number from {self.span[0]:g} to {self.span[1]:g}.")


FACTORS: Mapping[str, Factor] = {
    "skin_tone": Factor("skin and lips, 1 light to 7 dark", lambda v: Redraw(skin_tone=float(v) - 1), span=(1, 7)),
    "hair_colour": Factor("hair, brows and stubble", lambda v: Redraw(hair=HAIR[v]), tuple(HAIR)),
    "clothing_colour": Factor("of garments, without pattern", lambda v: Redraw(cloth=CLOTHES[v]), tuple(CLOTHES)),
    "background": Factor(
        "walls, floor and furniture in one grey", lambda v: Redraw(background=BACKGROUNDS[v]), tuple(BACKGROUNDS)
    ),
    "light_direction": Factor(
        "degrees to the right of the camera's side", lambda v: Redraw(light_turn_deg=float(v)), span=(-90, 90)
    ),
    "light_level": Factor("all light, in stops", lambda v: Redraw(light_stops=float(v)), span=(-4, 2)),
    "hair": Factor("style; hats come off", lambda v: Redraw(hairstyle=v), tuple(HAIRSTYLES)),
    "clothing": Factor(
        "sleeves, legs or fit of what is worn; the rest of it stays", lambda v: Redraw(garment=v), tuple(GARMENTS)
    ),
    "age": Factor("years of everyone's body", lambda v: Redraw(body=BodyRedraw(age_years=float(v))), span=(10, 80)),
    "body_shape": Factor(
        "0 thin to 1 heavy (MakeHuman's weight)", lambda v: Redraw(body=BodyRedraw(weight=float(v))), span=(0, 1)
    ),
    "gender_shape": Factor(
        "shape of the body, 0 male to 1 female; clothes and hair stay",
        lambda v: Redraw(body=BodyRedraw(gender=float(v))),
        span=(0, 1),
    ),
    "height": Factor("stature, metres", lambda v: Redraw(body=BodyRedraw(height_m=float(v))), span=(1.45, 1.95)),
    "camera_pitch": Factor("degrees the camera looks down", lambda v: Redraw(pitch_deg=float(v)), span=(0, 60)),
    "focal_length": Factor(
        "heights of the picture; people stay as large", lambda v: Redraw(focal=float(v)), span=(0.7, 3.1)
    ),
    "distance": Factor("times the distance drawn", lambda v: Redraw(distance=float(v)), span=(1, 4)),
    "truncation": Factor(
        "share of a person that the lower edge cuts off", lambda v: Redraw(cut_off=float(v)), span=(0, 0.6)
    ),
    "occluder": Factor(
        "share of a person behind a board, from below", lambda v: Redraw(hidden=float(v)), span=(0, 0.6)
    ),
    "people": Factor("how many", lambda v: Redraw(people=int(v)), ("1", "2", "3", "4")),
}


def parse(text: str) -> tuple[str, str]:
    """``"skin_tone=4"`` -> its factor and level, both known.

    Raises:
        UsageError: not of that form, or a number outside the factor's span. UnknownName: no such factor or level.
    """
    name, equals, level = text.partition("=")
    if not equals:
        raise UsageError(f"factor {text!r}: write NAME=LEVEL, e.g. skin_tone=4.")
    find(name).check(name, level)
    return name, level


def find(name: str) -> Factor:
    """The factor of a name.

    Raises:
        UnknownName: there is none.
    """
    if name not in FACTORS:
        raise UnknownName("factor", name, FACTORS)
    return FACTORS[name]


def redraw(text: str) -> Redraw:
    """What ``"skin_tone=4"`` sets; "" sets nothing.

    Raises:
        UsageError, UnknownName: see ``parse``.
    """
    if not text:
        return AS_DRAWN
    name, level = parse(text)
    return FACTORS[name].to_redraw(level)
