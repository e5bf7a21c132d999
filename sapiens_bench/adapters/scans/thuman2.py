"""THuman2.0 and 2.1: textured scans, seen by seeded virtual cameras.

    <root>/NNNN/NNNN.obj, material0.mtl, material0.jpeg       or one or two folders deeper, in any number of folders

Protocol options (all optional):

    framings: [face, upper, full]  # one sample for each scan, framing and view
    views: 1                       # cameras per framing
    ids: [0, 525]                  # first and last scan
    expect: 526                    # a note is given when another number of scans is found
    height_m: 1.7                  # every scan is scaled to it, standing on the origin
    size: [1024, 768]              # height, width
    focal_mm: [35, 85]             # "35 mm equivalent", yaw_deg and pitch_deg likewise
    seed: 0                        # of cameras and lights; a run's own --seed does not move cameras
    grey: 127                      # background, or backgrounds: FOLDER of pictures

The distance follows from framing and focal length. Ground truth comes from the scan, so "metres" are metres on a person
of the protocol's height. Fits of body models (smplx_param.pkl) are pickles: they are neither needed nor opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sapiens_bench.adapters.folders import refuse_split
from sapiens_bench.adapters.options import AdapterOptions
from sapiens_bench.adapters.prepare import PrepareReport, Progress
from sapiens_bench.adapters.scans.options import RECIPE_OPTIONS, ScanOptions, make_recipe
from sapiens_bench.adapters.scans.samples import ScanSamples, ScanView
from sapiens_bench.cards.schema import DatasetCard, EvalProtocol, SpaceCard
from sapiens_bench.errors import DataMissing, DatasetRejected
from sapiens_bench.render.mesh import IMAGE_SUFFIXES
from sapiens_bench.types import Sample

DRAWS = "thuman2-render/1"  # seeds every draw; raised when cameras or lights are drawn differently
HEIGHT_M = 1.7
DEPTH = 2  # folders between the root and the scans
_ID = re.compile(r"\d{4,5}")
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Scan:
    """One scan's folder."""

    name: str  # NNNN
    obj: Path  # may be missing: the scan's samples are error rows then
    sources: tuple[Path, ...]  # mesh, materials and pictures of the folder, by name


class THuman2:
    """Depth or normals of rendered scans. Key ``thuman2/<id>/<framing>``, group = the scan.

    ``notes`` says what was found that a reader of the table should know.

    Raises:
        CardError: an option is unknown or of the wrong kind.
        DataMissing: no scan below the root.
        DatasetRejected: one id lies in two places.
    """

    def __init__(
        self,
        card: DatasetCard,
        protocol: EvalProtocol,
        space: SpaceCard | None,
        root: Path,
        options: AdapterOptions | None = None,
    ) -> None:
        self._options = options or AdapterOptions()
        refuse_split(card, self._options.split)
        read = ScanOptions(card, protocol, {*RECIPE_OPTIONS, "framings", "views", "ids", "expect", "height_m"})
        framings, n_views = read.framings(default=("full",)), read.whole("views", 1, least=1)
        recipe = make_recipe(read, DRAWS, root, height_m=read.number("height_m", HEIGHT_M, least=0.1))
        first, last = read.whole_pair("ids", (0, 99_999))
        scans, skipped = find_scans(root)
        self.scans = [scan for scan in scans if first <= int(scan.name) <= last]
        if not self.scans:
            found = f"; it has {len(scans)} scans outside {first:04d}-{last:04d}" if scans else ""
            raise DataMissing(f"No scan NNNN/NNNN.obj under {root} (nor one or two folders deeper){found}. {card.get}")
        self.notes = _notes(len(self.scans), read.whole("expect", 0), skipped)
        views = [
            ScanView(_key(card.id, scan.name, framing, k), scan.name, scan.name, scan.obj, scan.sources, framing, k)
            for scan in self.scans
            for framing in framings
            for k in range(n_views)
        ]
        self.keys: list[str] = [view.key for view in views]
        self.groups: list[str] = [view.group for view in views]
        label = "+".join(framings)
        self.samples = ScanSamples(card.id, protocol.task, recipe, views, label)
        self.manifest_sha256 = self.samples.manifest_sha256

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self.keys):
            raise IndexError(index)
        return self.samples.read(index, self._options.max_pixels)

    def materialise(self, indices: Sequence[int], workers: int, progress: Progress) -> None:
        """Render what is missing."""
        self.prepare(indices, workers, progress)

    def prepare(self, indices: Sequence[int], workers: int, progress: Progress) -> PrepareReport:
        """Render what is missing and say what was done."""
        return self.samples.make(indices, workers, progress)


def _key(dataset: str, scan: str, framing: str, view: int) -> str:
    return f"{dataset}/{scan}/{framing}" + (f"/{view}" if view else "")


def _notes(n_found: int, n_expected: int, skipped: Sequence[str]) -> tuple[str, ...]:
    notes = []
    if n_expected and n_found != n_expected:
        notes.append(f"{n_found} scans were found, the protocol expects {n_expected}: scores are of another set")
    if skipped:
        more = ", ..." if len(skipped) > _SHOWN else ""
        notes.append(f"{len(skipped)} folders without a scan were left out: {', '.join(skipped[:_SHOWN])}{more}")
    return tuple(notes)


def find_scans(root: Path) -> tuple[list[Scan], list[str]]:
    """Scans below ``root`` by id, and names of id folders that hold no part of a scan (body-model fits alone).

    Raises:
        DatasetRejected: one id lies in two places.
    """
    found: dict[str, Scan] = {}
    repeated: list[str] = []
    skipped: list[str] = []
    for folder in _id_folders(root, DEPTH):
        files = sorted(
            f for f in folder.iterdir() if f.is_file() and f.suffix.lower() in (".obj", ".mtl", *IMAGE_SUFFIXES)
        )
        meshes = [f for f in files if f.suffix.lower() == ".obj"]
        named = [f for f in meshes if f.stem == folder.name] or (meshes if len(meshes) == 1 else [])
        if not files:
            skipped.append(folder.name)
        elif folder.name in found:
            repeated.append(f"scan {folder.name} lies in {found[folder.name].obj.parent} and in {folder}")
        else:
            obj = named[0] if named else folder / f"{folder.name}.obj"
            found[folder.name] = Scan(folder.name, obj, tuple(files))
    if repeated:
        raise DatasetRejected(str(root), repeated[:20], "Give the folder of one release, or remove one copy.")
    return [found[name] for name in sorted(found, key=lambda name: (int(name), name))], sorted(
        set(skipped) - set(found)
    )


def _id_folders(folder: Path, depth: int) -> Iterator[Path]:
    """Folders named by an id, up to ``depth`` folders down, by name."""
    try:
        children = sorted(child for child in folder.iterdir() if child.is_dir())
    except OSError:
        return
    for child in children:
        if _ID.fullmatch(child.name):
            yield child
        elif depth and not child.name.startswith("."):
            yield from _id_folders(child, depth - 1)
