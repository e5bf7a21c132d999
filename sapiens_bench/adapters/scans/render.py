"""From one mesh to its samples. ``run_job`` reads the mesh once and makes all its views; what comes out depends on the
job alone, not on which process runs it, or when.

Axes: V vertices, F faces, H height, W width.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.adapters.scans.cache import PreparedSample, SampleFolder
from sapiens_bench.adapters.scans.jobs import Job, Outcome, View, job_from_json
from sapiens_bench.adapters.scans.photo import RealPhoto, fit_photo
from sapiens_bench.adapters.scans.textures import load_paint
from sapiens_bench.adapters.surface import PLAUSIBLE_M
from sapiens_bench.errors import SampleFault, SapiensBenchError, StoreError, raise_if_machine
from sapiens_bench.pixels.codecs import load_npz, read_rgb
from sapiens_bench.render.attributes import ShadedNormals, shaded_normals, vertex_normals
from sapiens_bench.render.camera import Camera, draw_camera, framing_box, seeded
from sapiens_bench.render.files import listing
from sapiens_bench.render.manifest import ManifestEntry, digest
from sapiens_bench.render.materials import find_coats
from sapiens_bench.render.mesh import (
    IMAGE_SUFFIXES,
    MeshData,
    doubts_up,
    normalise,
    read_mesh,
    up_axis,
    upright,
    used_vertices,
)
from sapiens_bench.render.overdraw import overdraw
from sapiens_bench.render.paint import Paint
from sapiens_bench.render.rasterise import Hits, rasterise
from sapiens_bench.render.scan_scene import Background, draw_light, grey_background, photograph, picture_background

MAX_FLIPPED = 0.01  # share of covered pixels; above it the scan has inverted faces
MAX_BARE = 0.01  # share of covered pixels without colour that goes without a note
MAX_OVERDRAW = 2000.0  # candidate pixels per pixel of the image; scans have 2 to 20
PLAIN = (200.0, 160.0, 135.0)  # stored colour of a body without colours
_CAMERA_DRAWS = 3  # that draw_camera takes from the generator before the light's


def run_record(record: dict[str, Any]) -> list[dict[str, Any]]:
    """``run_job`` as a job of ``workers.run_all``."""
    return [asdict(outcome) for outcome in run_job(job_from_json(record))]


def run_job(job: Job) -> list[Outcome]:
    """Make and store every view; a fault is stored too, and stops no other view.

    Raises:
        StoreError: the cache cannot be written.
        MemoryError, OSError: the machine ran out of memory, disk space or file handles: no scan is to blame.
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
            raise_if_machine(error)
            code = error.code if isinstance(error, SampleFault) else "scan.render"
            detail = f"scan {job.scan}: {error.detail if isinstance(error, SampleFault) else error}"
            folder.save_fault(code, detail)
            outcomes.append(Outcome(view.key, code=code, detail=detail))
    return outcomes


class _Scan:
    """A mesh, read when first needed; a fault in it is raised for every view."""

    def __init__(self, job: Job) -> None:
        self.job, self.recipe = job, job.recipe
        self._fault: SampleFault | None = None
        self._remarks: list[str] = []

    @cached_property
    def _loaded(self) -> tuple[MeshData, NDArray[np.float64], dict[str, Any]]:
        mesh = read_mesh(Path(self.job.mesh))
        if self.job.may_be_plain and mesh.colours_V3 is None and (mesh.uv_T2 is None or not mesh.libraries):
            plain = np.full(mesh.vertices_V3.shape, PLAIN, np.float32)
            mesh = replace(mesh, uv_T2=None, texture_faces_F3=None, colours_V3=plain)
        source: dict[str, Any] = {"protocol": self.recipe.protocol, "seed": self.recipe.seed, "obj_sha256": mesh.sha256}
        if self.recipe.height_m is not None:
            up = up_axis(mesh, self.job.up)
            if self.job.up != "auto" and doubts_up(mesh, up):
                other = "z" if up == "y" else "y"
                self._remarks.append(
                    f"scan {self.job.scan} is longer along {other} than along {up}, which is taken as up: does the "
                    f"person lie, or do these files stand along {other} (option up: {other})?"
                )
            if up != "y":
                mesh, source["up"] = upright(mesh, up), up
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
    def _paint(self) -> tuple[Paint, dict[str, Any]]:
        """Colours, and what the manifest says about their files."""
        mesh, _, _ = self._mesh()
        try:
            paint, hashes = load_paint(find_coats(mesh))
        except SampleFault as fault:
            raise SampleFault("scan.texture", fault.detail) from fault
        if len(paint.coats.coats) == len(hashes) == 1:
            return paint, {"texture_sha256": hashes[0]}
        return paint, {"texture_sha256s": hashes, "colours": "materials" if paint.coats.coats else "vertices"}

    @cached_property
    def _used_V3(self) -> NDArray[np.float64]:
        return used_vertices(self._mesh()[0])

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
        paint, colours = self._paint
        box = framing_box(self._used_V3, view.framing)
        draw, recipe = self.recipe.camera_draw(), self.recipe
        span = recipe.span_m if recipe.projection == "orthographic" else None
        camera = draw_camera(
            draw, self.job.scan, view.framing, view.number, box, yaw_deg=view.yaw_deg, span_m=span
        )  # fmt: skip
        generator = seeded(draw.protocol, draw.seed, self.job.scan, view.framing, view.number)
        generator.random(_CAMERA_DRAWS)  # the light goes on where the camera stopped
        light = draw_light(recipe.light, generator)
        background = self._background(generator)
        hits, shaded = self._geometry(camera)
        picture = photograph(mesh, normals, paint, camera, light, background, supersampling=recipe.supersampling)
        about = {
            "framing": view.framing,
            "rule": box.rule,
            "box": {"lower": box.lower, "upper": box.upper},
            "light": asdict(light),
            "background": {"name": background.name, "sha256": background.sha256},
            "untextured_share": round(picture.untextured_share, 6),
        }
        notes = [f"scan {self.job.scan}: {paint.coats.doubt}"] if paint.coats.doubt else []
        if picture.untextured_share > MAX_BARE:
            share = f"{100 * picture.untextured_share:.1f} %"
            notes.append(f"scan {self.job.scan} has faces without colour ({share} of a view); they are drawn grey")
        scored = self._scored(hits)
        return self._finish(view, camera, hits, shaded, picture.rgb_HW3, {**source, **colours}, about, scored, notes)

    def _photographed(self, view: View, photo: RealPhoto) -> PreparedSample:
        """A real picture and the geometry as its calibrated camera sees it."""
        _, _, source = self._mesh()
        camera = photo.camera()
        hits, shaded = self._geometry(camera)
        _check_distance(hits, view.key)
        seen = fit_photo(photo, hits.mask_HW)
        about: dict[str, Any] = {"undistorted": seen.is_undistorted}
        if seen.iou is not None:
            about["silhouette_iou"] = round(seen.iou, 6)
        if seen.other_iou is not None:
            about["silhouette_iou_otherwise"] = round(seen.other_iou, 6)
        source = {**source, "image_sha256": seen.image_sha256}
        rgb = seen.rgb_HW3 if seen.is_undistorted else None
        return self._finish(view, camera, hits, shaded, rgb, source, about, self._scored(hits) & seen.valid_HW, [])

    def _geometry(self, camera: Camera) -> tuple[Hits, ShadedNormals]:
        mesh, normals, _ = self._mesh()
        if (times := overdraw(mesh.vertices_V3, mesh.faces_F3, camera)) > MAX_OVERDRAW:
            raise SampleFault(
                "mesh.overdraw",
                f"{self.job.mesh}: its faces cover the image {times:.0f} times over; those of scans do so less than 20 "
                "times. Is the file damaged?",
            )
        hits = rasterise(mesh.vertices_V3, mesh.faces_F3, camera)
        return hits, shaded_normals(hits, mesh.vertices_V3, mesh.faces_F3, normals, camera)

    def _scored(self, hits: Hits) -> NDArray[np.bool_]:
        """Covered pixels of the person asked for."""
        if self.recipe.person == "all":
            return hits.mask_HW
        mesh, _, _ = self._mesh()
        if not self.job.face_labels:
            where = "seg/mesh_seg_mask has no file of this frame, which tells the persons apart"
            raise SampleFault("scan.persons", f"{where}: fetch it, or score person=all")
        labels = load_npz(Path(self.job.face_labels), only=("faces_mask",)).get("faces_mask")
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
        if not pictures:
            raise SampleFault("scan.background", f"{recipe.backgrounds} has no pictures any more")
        path = pictures[min(int(generator.random() * len(pictures)), len(pictures) - 1)]
        rgb = read_rgb(path)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        return picture_background(rgb, path.name, sha256, recipe.width, recipe.height)

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
        notes: list[str],
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
        entry = ManifestEntry(view.key, camera, arrays, source, about)
        all_notes = (*self._remarks, *notes, *self._notes(shaded, hits))
        return PreparedSample(entry, depth, shaded.normal_HW3, mask, rgb, all_notes)

    def _notes(self, shaded: ShadedNormals, hits: Hits) -> list[str]:
        notes = []
        if shaded.flipped_share > MAX_FLIPPED:
            share = f"{100 * shaded.flipped_share:.1f} %"
            notes.append(
                f"scan {self.job.scan} has inverted faces ({share} of a view); their normals were turned round"
            )
        if hits.n_near_skipped:
            notes.append(f"scan {self.job.scan}: {hits.n_near_skipped} faces reach behind the camera and were left out")
        return notes


def _check_distance(hits: Hits, key: str) -> None:
    """Silhouettes agree in any unit, as long as scan and camera share it; depth does not.

    Raises:
        SampleFault: scan.units; the scan is nearer or farther than any person in a picture.
    """
    low, high = PLAUSIBLE_M
    if hits.mask_HW.any() and not low <= (median := float(np.median(hits.depth_HW[hits.mask_HW]))) <= high:
        raise SampleFault(
            "scan.units",
            f"view {key}: the scan is {median:.4g} m away; are mesh and extrinsics in metres, as Hi4D's are?",
        )


def list_pictures(folder: Path) -> list[Path]:
    """Pictures directly in a folder, by name."""
    return [p for p in listing(folder) if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]
