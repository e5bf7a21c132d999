"""Sets of single people with one folder a scan, seen by virtual cameras; the data sets differ in their layout alone.

The distance follows from framing and focal length. Ground truth comes from the scan, so "metres" are metres on a person
of the protocol's height. Fits of body models (smplx_param.pkl) are pickles: they are neither needed nor opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from sapiens_bench.adapters.context import DataContext
from sapiens_bench.adapters.prepare import PrepareReport, Progress
from sapiens_bench.adapters.scans.find import Layout, Scan, find_scans, number_of
from sapiens_bench.adapters.scans.options import TASKS, ScanSetOptions, fixed_or_drawn, make_recipe
from sapiens_bench.adapters.scans.samples import ScanSamples, ScanView
from sapiens_bench.render.camera import Framing
from sapiens_bench.render.mesh import Up
from sapiens_bench.types import Sample


class ScanSet:
    """Depth or normals of rendered scans. Key ``<data set>/<id>/<framing>``, group = the scan.

    ``notes`` says what was found that a reader of the table should know, and, once scans are rendered, which of them
    are doubtful.

    Raises:
        CardError: a task that scans have no labels for.
        DataMissing: no scan below the root.
        DatasetRejected: one id lies in two places.
    """

    Options: ClassVar[type[ScanSetOptions]] = ScanSetOptions
    tasks: ClassVar[tuple[str, ...]] = TASKS
    layout: ClassVar[Layout]
    may_be_plain: ClassVar[bool] = False  # meshes without colours are drawn in one; refused otherwise
    draws: ClassVar[str]  # seeds every draw; raised when cameras or lights are drawn differently

    def __init__(self, context: DataContext) -> None:
        context.refuse_split()
        context.needs_task(*self.tasks)
        options: ScanSetOptions = context.options
        card, root = context.card, context.root
        recipe = make_recipe(options, self.draws, root, height_m=options.height_m)
        found = find_scans(root, self.layout)
        first, last = options.ids
        self.scans = [scan for scan in found.scans if first <= number_of(scan.name) <= last or self._has_no_id(scan)]
        if not self.scans:
            raise found.why_none(root, self.layout.what, options.ids, card.get)
        views = [
            ScanView(
                key=f"{card.id}/{scan.name}/{framing}{suffix}",
                group=scan.name,
                scan=scan.name,
                mesh=scan.mesh,
                sources=scan.sources,
                framing=framing,
                number=number,
                yaw_deg=yaw,
                up=_up(scan, options),
                may_be_plain=self.may_be_plain,
            )
            for scan in self.scans
            for framing in options.framings
            for number, yaw, suffix in fixed_or_drawn(options)
        ]
        self.keys: list[str] = [view.key for view in views]
        self.groups: list[str] = [view.group for view in views]
        self._found_notes = found.notes(self.layout, options.expect, len(self.scans))
        stored = "normal" if context.protocol.task == "normal" else "depth"
        self.samples = ScanSamples(card.id, stored, recipe, views, _label(options.framings, options))
        self.manifest_sha256 = self.samples.manifest_sha256
        self._max_pixels = context.max_pixels

    @property
    def notes(self) -> tuple[str, ...]:
        """About the set, then about scans that are rendered."""
        return (*self._found_notes, *self.samples.notes)

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self.keys):
            raise IndexError(index)
        return self.samples.read(index, self._max_pixels)

    def identity(self, index: int) -> str:
        """Size and time of change of the files behind a sample."""
        return self.samples.identity(index)

    def materialise(self, indices: Sequence[int], workers: int, progress: Progress) -> None:
        """Render what is missing."""
        self.prepare(indices, workers, progress)

    def prepare(self, indices: Sequence[int], workers: int, progress: Progress) -> PrepareReport:
        """Render what is missing and say what was done."""
        report = self.samples.make(indices, workers, progress)
        return report.with_notes((*self._found_notes, *report.notes))

    def _has_no_id(self, scan: Scan) -> bool:
        return number_of(scan.name) < 0


def _up(scan: Scan, options: ScanSetOptions) -> Up:
    if options.z_up_from is not None and number_of(scan.name) >= options.z_up_from:
        return "z"
    return options.up


def _label(framings: Sequence[Framing], options: ScanSetOptions) -> str:
    """Names the manifest's file."""
    kind = "orthographic-" if options.projection == "orthographic" else ""
    return kind + "+".join(framings)
