"""Protocol options that data sets of scans share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field

from sapiens_bench.adapters.scans.cache import stamp
from sapiens_bench.adapters.scans.jobs import Person, Projection, Recipe
from sapiens_bench.adapters.scans.render import list_pictures
from sapiens_bench.cards.options import Options
from sapiens_bench.errors import DataMissing
from sapiens_bench.render.camera import Framing
from sapiens_bench.render.mesh import Up

TASKS = ("depth", "normal")
Number = TypeVar("Number", int, float)


def ordered(pair: tuple[Number, Number]) -> tuple[Number, Number]:
    """The pair, whose smaller number must come first; ValueError otherwise."""
    if pair[0] > pair[1]:
        raise ValueError(f"the smaller number comes first, not {pair[0]:g} before {pair[1]:g}")
    return pair


def _each_once(names: tuple[Framing, ...]) -> tuple[Framing, ...]:
    return tuple(dict.fromkeys(names))


Side = Annotated[int, Field(ge=16, le=8192)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Range = Annotated[tuple[Finite, Finite], AfterValidator(ordered)]
PositiveRange = Annotated[tuple[Positive, Positive], AfterValidator(ordered)]
Pitch = Annotated[float, Field(gt=-90, lt=90)]
PitchRange = Annotated[tuple[Pitch, Pitch], AfterValidator(ordered)]
Framings = Annotated[tuple[Framing, ...], Field(min_length=1), AfterValidator(_each_once)]
Angle = Annotated[int, Field(ge=0, lt=360)]


class RenderOptions(Options):
    """How views of a scan are drawn."""

    framings: Framings = ("full",)
    """one sample for each scan, framing and view; full, upper, face"""
    views: Annotated[int, Field(ge=1, le=1000)] = 1
    """cameras per framing"""
    yaws_deg: tuple[Angle, ...] = ()
    """fixed views at these angles instead of drawn ones (0 is the front, 90 stands at +x)"""
    projection: Projection = "perspective"
    """orthographic: parallel rays, as ICON and ECON render; the image is ``span_m`` high"""
    span_m: Positive = 2.048
    """height of an orthographic image in metres; 2.048 with a height of 1.8 fills 87.9 % of it, as in ICON"""
    size: tuple[Side, Side] = (1024, 768)
    """height, width of the image"""
    focal_mm: PositiveRange = (35.0, 85.0)
    """35 mm equivalent, drawn uniformly; with the framing it decides the distance"""
    yaw_deg: Range = (0.0, 360.0)
    """angle round the person, drawn uniformly"""
    pitch_deg: PitchRange = (-10.0, 10.0)
    """angle above the horizon, drawn uniformly"""
    seed: Annotated[int, Field(ge=0, le=1 << 31)] = 0
    """of cameras and lights; a run's own --seed does not move cameras"""
    grey: Annotated[int, Field(ge=0, le=255)] = 127
    """level of the background"""
    backgrounds: str = ""
    """folder of pictures instead of the grey, below the root or a path of its own"""


class ScanSetOptions(RenderOptions):
    """Options of sets with one folder a scan."""

    ids: Annotated[tuple[int, int], AfterValidator(ordered)] = (0, 99_999)
    """first and last scan"""
    expect: Annotated[int, Field(ge=0)] = 0
    """a note is given when another number of scans is found; 0: never"""
    height_m: Annotated[float, Field(ge=0.1, le=100)] = 1.7
    """every scan is scaled to it, standing on the origin"""
    up: Up = "auto"
    """axis along which scans stand; auto: the longer of y and z, which a person who lies defeats"""
    z_up_from: int | None = None
    """scans from this id on stand along z whatever ``up`` says"""


def make_recipe(
    options: RenderOptions, draws: str, root: Path, *, height_m: float | None = None, person: Person = "all"
) -> Recipe:
    """The recipe that the options describe.

    Raises:
        DataMissing: no pictures in the background folder.
    """
    folder, files = _backgrounds(options.backgrounds, root)
    return Recipe(
        protocol=draws,
        height_m=height_m,
        width=options.size[1],
        height=options.size[0],
        focal_mm=options.focal_mm,
        yaw_deg=options.yaw_deg,
        pitch_deg=options.pitch_deg,
        seed=options.seed,
        grey=options.grey,
        backgrounds=folder,
        backgrounds_stamp=files,
        person=person,
        projection=options.projection,
        span_m=options.span_m,
    )


def fixed_or_drawn(options: RenderOptions) -> Sequence[tuple[int, int | None, str]]:
    """The views of one framing: number, yaw in degrees where it is fixed, and what stands in the key behind the
    framing."""
    if options.yaws_deg:
        return [(k, yaw, f"-{yaw:03d}") for k, yaw in enumerate(dict.fromkeys(options.yaws_deg))]
    return [(k, None, f"/{k}" if k else "") for k in range(options.views)]


def places_of(root: Path, name: str) -> list[Path]:
    """Where a file or folder that an option names may lie: below the root, or as a path of its own."""
    try:
        return [root / name, Path(name).expanduser()]
    except RuntimeError:  # ~nobody
        return [root / name]


def _backgrounds(name: str, root: Path) -> tuple[str, str]:
    """Folder of background pictures (below the root, or a path of its own) and the hash of its files."""
    if not name:
        return "", ""
    folder = next((f for f in places_of(root, name) if f.is_dir()), None)
    pictures = list_pictures(folder) if folder is not None else []
    if folder is None or not pictures:
        raise DataMissing(f"Background folder {name!r} has no pictures, or exists neither below {root} nor by itself.")
    return str(folder.resolve()), stamp(pictures)
