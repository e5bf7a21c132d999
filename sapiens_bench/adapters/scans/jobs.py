"""The work unit of a data set of scans: one mesh and the views to make of it, as plain data that travels as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from sapiens_bench.adapters.scans.cache import recipe_hash
from sapiens_bench.adapters.scans.photo import RealPhoto
from sapiens_bench.render.camera import CameraDraw, Framing
from sapiens_bench.render.manifest import RENDERER_VERSION
from sapiens_bench.render.mesh import Up
from sapiens_bench.render.scan_scene import SCENE_VERSION, LightDraw

Person = Literal["all", "0", "1"]
Projection = Literal["perspective", "orthographic"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """All choices that decide what is rendered from a mesh."""

    protocol: str  # names and seeds the draws; raised when their meaning changes
    height_m: float | None = None  # scans are scaled to it; None: the mesh is metric and stays where it is
    width: int = 768
    height: int = 1024
    focal_mm: tuple[float, float] = (35.0, 85.0)
    yaw_deg: tuple[float, float] = (0.0, 360.0)
    pitch_deg: tuple[float, float] = (-10.0, 10.0)
    seed: int = 0
    supersampling: int = 2
    grey: int = 127
    backgrounds: str = ""  # folder of pictures instead of the grey
    backgrounds_stamp: str = ""  # of that folder's files
    light: LightDraw = field(default_factory=LightDraw)
    person: Person = "all"  # whose pixels are scored (meshes with person labels)
    projection: Projection = "perspective"
    span_m: float = 2.048  # height of an orthographic image

    def camera_draw(self) -> CameraDraw:
        """The ranges in the form the camera module takes."""
        return CameraDraw(
            self.protocol,
            self.width,
            self.height,
            self.focal_mm,
            self.yaw_deg,
            self.pitch_deg,
            seed=self.seed,
        )

    def sha256(self) -> str:
        """Decides which samples may lie in one folder. The path of a background folder does not count, its files do."""
        choices = {**asdict(self), "backgrounds": bool(self.backgrounds)}
        return recipe_hash({"renderer": RENDERER_VERSION, "scene": SCENE_VERSION, **choices})


@dataclass(frozen=True, slots=True)
class View:
    """One sample to make. Either ``framing`` (a virtual camera) or ``photo`` (a real picture and its camera)."""

    key: str  # the sample's stable name
    folder: str  # of the sample
    framing: Framing | None = None
    number: int = 0  # of the view among those of one framing
    yaw_deg: int | None = None  # where it is not drawn
    photo: RealPhoto | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One mesh and its views."""

    scan: str  # what messages call it, and part of the draws' seed
    mesh: str  # path
    views: tuple[View, ...]
    recipe: Recipe
    up: Up = "y"
    face_labels: str = ""  # path of an .npz with faces_mask, person of each face
    may_be_plain: bool = False  # a mesh without colours is drawn in one, where it is a fault otherwise


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one view."""

    key: str
    n_bytes: int = 0
    code: str = ""  # of the fault; "" when the sample is there
    detail: str = ""


def job_to_json(job: Job) -> dict[str, Any]:
    """Plain data that ``job_from_json`` reads back."""
    return asdict(job)


def job_from_json(record: dict[str, Any]) -> Job:
    """The job that was written down."""
    views = tuple(
        View(**{**view, "photo": None if view["photo"] is None else RealPhoto.from_json(view["photo"])})
        for view in record["views"]
    )
    recipe = dict(record["recipe"])
    light: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in recipe.pop("light").items()}
    recipe = {name: tuple(v) if isinstance(v, list) else v for name, v in recipe.items()}
    return Job(**{**record, "views": views, "recipe": Recipe(**recipe, light=LightDraw(**light))})
