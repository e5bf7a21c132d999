"""From one mesh to its samples: the work unit of a data set of scans.

A ``Job`` is plain data, so that it can travel to another process as JSON; ``run_job`` reads the mesh once and makes all
its views. What comes out depends on the job alone, not on which process runs it, or when.

Axes: V vertices, F faces, H height, W width.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.adapters.scans.cache import PreparedSample, SampleFolder, recipe_hash
from sapiens_bench.adapters.scans.photo import RealPhoto, read_photo
from sapiens_bench.errors import SampleFault, SapiensBenchError, StoreError
from sapiens_bench.pixels.codecs import load_npz
from sapiens_bench.render.attributes import ShadedNormals, shaded_normals, vertex_normals
from sapiens_bench.render.camera import Camera, CameraDraw, Framing, draw_camera, framing_box, seeded
from sapiens_bench.render.manifest import RENDERER_VERSION, ManifestEntry, digest
from sapiens_bench.render.mesh import IMAGE_SUFFIXES, MeshData, load_texture, normalise, read_mesh, texture_path
from sapiens_bench.render.rasterise import Hits, rasterise
from sapiens_bench.render.scan_scene import (
    SCENE_VERSION,
    Background,
    LightDraw,
    draw_light,
    grey_background,
    photograph,
    picture_background,
)

MAX_FLIPPED = 0.01  # share of covered pixels; above it the scan has inverted faces
_CAMERA_DRAWS = 3  # that draw_camera takes from the generator before the light's


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
    person: Literal["all", "0", "1"] = "all"  # whose pixels are scored (meshes with person labels)

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
    """One sample to make. Either ``framing`` (a drawn camera) or ``photo`` (a real picture and its camera)."""

    key: str  # the sample's stable name
    folder: str  # of the sample
    framing: Framing | None = None
    number: int = 0  # of the view among those of one framing
    photo: RealPhoto | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One mesh and its views."""

    scan: str  # what messages call it, and part of the draws' seed
    obj: str  # path
    views: tuple[View, ...]
    recipe: Recipe
    face_labels: str = ""  # path of an .npz with faces_mask, person of each face


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one view."""

    key: str
    n_bytes: int = 0
    code: str = ""  # of the fault; "" when the sample is there
    detail: str = ""


def run_job(job: Job) -> list[Outcome]:
    """Make and store every view; a fault is stored too, and stops no other view.

    Raises:
        StoreError: the cache cannot be written.
    """
    outcomes = []
    scan = _Scan(job)
    for view in job.views:
        folder = SampleFolder(Path(view.folder))
        try:
            outcomes.append(Outcome(view.key, folder.save(scan.sample(view))))
        except StoreError:
            raise
        except SapiensBenchError as error:
            code = error.code if isinstance(error, SampleFault) else "scan.render"
            detail = f"scan {job.scan}: {error.detail if isinstance(error, SampleFault) else error}"
            folder.save_fault(code, detail)
            outcomes.append(Outcome(view.key, code=code, detail=detail))
        except MemoryError:
            detail = f"scan {job.scan}: not enough memory to render {job.obj}; use fewer workers"
            folder.save_fault("scan.memory", detail)
            outcomes.append(Outcome(view.key, code="scan.memory", detail=detail))
    return outcomes


class _Scan:
    """A mesh, read when first needed; a fault in it is raised for every view."""

    def __init__(self, job: Job) -> None:
        self.job, self.recipe = job, job.recipe
        self._fault: SampleFault | None = None

    @cached_property
    def _loaded(self) -> tuple[MeshData, NDArray[np.float64], dict[str, Any]]:
        mesh = read_mesh(Path(self.job.obj))
        source: dict[str, Any] = {"protocol": self.recipe.protocol, "seed": self.recipe.seed, "obj_sha256": mesh.sha256}
        if self.recipe.height_m is not None:
            mesh, step = normalise(mesh, self.recipe.height_m)
            source["normalisation"] = {"scale": step.scale, "offset": step.offset, "height_m": step.height_m}
        return mesh, vertex_normals(mesh.vertices_V3, mesh.faces_F3), source

    def _mesh(self) -> tuple[MeshData, NDArray[np.float64], dict[str, Any]]:
        if self._fault is not None:
            raise self._fault
        try:
            return self._loaded
        except SampleFault as fault:
            self._fault = fault
            raise

    @cached_property
    def _texture(self) -> tuple[NDArray[np.uint8], str]:
        mesh, _, _ = self._mesh()
        if mesh.uv_T2 is None:
            raise SampleFault("scan.texture", f"{self.job.obj} has no texture coordinates (vt), so it has no colours")
        try:
            path = texture_path(mesh)
            return load_texture(mesh), _sha256(path)
        except SampleFault as fault:
            raise SampleFault("scan.texture", fault.detail) from None

    @cached_property
    def _used_V3(self) -> NDArray[np.float64]:
        mesh, _, _ = self._mesh()
        used = np.zeros(len(mesh.vertices_V3), np.bool_)
        used[mesh.faces_F3.reshape(-1)] = True
        return mesh.vertices_V3[used]

    def sample(self, view: View) -> PreparedSample:
        """Render one view.

        Raises:
            SampleFault: mesh.*, scan.texture, scan.empty, image.*.
        """
        self._mesh()
        return self._photographed(view, view.photo) if view.photo is not None else self._drawn(view)

    def _drawn(self, view: View) -> PreparedSample:
        """A virtual camera, a drawn light, a rendered picture."""
        assert view.framing is not None
        mesh, normals, source = self._mesh()
        texture, texture_sha256 = self._texture
        box = framing_box(self._used_V3, view.framing)
        draw = self.recipe.camera_draw()
        camera = draw_camera(draw, self.job.scan, view.framing, view.number, box)
        generator = seeded(draw.protocol, draw.seed, self.job.scan, view.framing, view.number)
        generator.random(_CAMERA_DRAWS)  # the light goes on where the camera stopped
        light = draw_light(self.recipe.light, generator)
        background = self._background(generator)
        hits, shaded = self._geometry(camera)
        picture = photograph(mesh, normals, texture, camera, light, background, supersampling=self.recipe.supersampling)
        about = {
            "framing": view.framing,
            "rule": box.rule,
            "box": {"lower": box.lower, "upper": box.upper},
            "light": asdict(light),
            "background": {"name": background.name, "sha256": background.sha256},
            "untextured_share": round(picture.untextured_share, 6),
        }
        source = {**source, "texture_sha256": texture_sha256}
        return self._finish(view, camera, hits, shaded, picture.rgb_HW3, source, about, self._scored(hits))

    def _photographed(self, view: View, photo: RealPhoto) -> PreparedSample:
        """A real picture and the geometry as its calibrated camera sees it."""
        _, _, source = self._mesh()
        camera = photo.camera()
        seen = read_photo(photo)
        hits, shaded = self._geometry(camera)
        about: dict[str, Any] = {"undistorted": seen.is_undistorted}
        if seen.person_mask_HW is not None:
            about["silhouette_iou"] = round(_iou(hits.mask_HW & seen.valid_HW, seen.person_mask_HW & seen.valid_HW), 6)
        source = {**source, "image_sha256": seen.image_sha256}
        rgb = seen.rgb_HW3 if seen.is_undistorted else None
        return self._finish(view, camera, hits, shaded, rgb, source, about, self._scored(hits) & seen.valid_HW)

    def _geometry(self, camera: Camera) -> tuple[Hits, ShadedNormals]:
        mesh, normals, _ = self._mesh()
        hits = rasterise(mesh.vertices_V3, mesh.faces_F3, camera)
        return hits, shaded_normals(hits, mesh.vertices_V3, mesh.faces_F3, normals, camera)

    def _scored(self, hits: Hits) -> NDArray[np.bool_]:
        """Covered pixels of the person asked for."""
        if self.recipe.person == "all":
            return hits.mask_HW
        mesh, _, _ = self._mesh()
        labels = load_npz(Path(self.job.face_labels)).get("faces_mask")
        if labels is None or labels.shape != (len(mesh.faces_F3),):
            shape = "no" if labels is None else str(labels.shape)
            raise SampleFault("scan.persons", f"{self.job.face_labels}: {shape} faces_mask, need {len(mesh.faces_F3)}")
        of_face: NDArray[np.bool_] = labels == int(self.recipe.person)
        return hits.mask_HW & of_face[np.maximum(hits.face_HW, 0)]

    def _background(self, generator: np.random.Generator) -> Background:
        recipe = self.recipe
        if not recipe.backgrounds:
            return grey_background(recipe.grey, recipe.width, recipe.height)
        pictures = list_pictures(Path(recipe.backgrounds))
        try:
            return picture_background(pictures, generator, recipe.width, recipe.height)
        except (OSError, ValueError, SyntaxError, IndexError) as error:
            raise SampleFault("scan.background", f"{recipe.backgrounds}: {error}") from None

    def _finish(
        self,
        view: View,
        camera: Camera,
        hits: Hits,
        shaded: ShadedNormals,
        rgb: NDArray[np.uint8] | None,
        source: dict[str, Any],
        about: dict[str, Any],
        mask: NDArray[np.bool_],
    ) -> PreparedSample:
        depth = hits.depth_HW.astype(np.float32)
        mask = mask & np.isfinite(shaded.normal_HW3).all(2)
        if not mask.any():
            raise SampleFault("scan.empty", f"view {view.key} shows no human pixel: are camera and mesh of one frame?")
        arrays = {
            "depth": digest("depth", depth, mask),
            "normal": digest("normal", shaded.normal_HW3, mask),
            "mask": digest("mask", mask),
        }
        if rgb is not None:
            arrays["rgb"] = digest("rgb", rgb)
        about |= {
            "person": self.recipe.person,
            "flipped_share": round(shaded.flipped_share, 6),
            "n_near_skipped": hits.n_near_skipped,
        }
        return PreparedSample(
            ManifestEntry(view.key, camera, arrays, source, about),
            depth,
            shaded.normal_HW3,
            mask,
            rgb,
            self._notes(shaded, hits),
        )

    def _notes(self, shaded: ShadedNormals, hits: Hits) -> tuple[str, ...]:
        notes = []
        if shaded.flipped_share > MAX_FLIPPED:
            share = f"{100 * shaded.flipped_share:.1f} %"
            notes.append(
                f"scan {self.job.scan} has inverted faces ({share} of a view); their normals were turned round"
            )
        if hits.n_near_skipped:
            notes.append(f"scan {self.job.scan}: {hits.n_near_skipped} faces reach behind the camera and were left out")
        return tuple(notes)


def list_pictures(folder: Path) -> list[Path]:
    """Pictures directly in a folder, by name."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES) if folder.is_dir() else []


def _iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    union = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / union if union else 0.0


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# Jobs as JSON --------------------------------------------------------------------------------------------------------


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
