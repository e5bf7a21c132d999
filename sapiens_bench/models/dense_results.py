"""Maps that another program stored, one file per sample, found by the sample's name: depth, normals, labels, and those
of tasks that say themselves how theirs are read (``TaskKind.stored``).

A folder holds ``<name>.npy``, ``.npz``, ``.exr``, ``.png`` or ``.tif``. The name is the sample's key, the key without
the data set's id, or that with ``_`` for ``/``; an ending of the stem that tells the task (``p0_seg.npy`` of Sapiens'
own demo, ``p0_depth.npy``, ``p0_normal.npy``) is understood. The rules for files are those of pixels/listing.py.

Source of the demo's names: facebookresearch/sapiens, lite/demo/vis_seg.py, vis_depth.py, vis_normal.py.

Axes: H height, W width.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import CheckpointRejected, SampleFault, ShapeError, raise_if_machine
from sapiens_bench.models.dense_options import StoredDepth, StoredLabels, StoredNormals
from sapiens_bench.pixels.arrays import npy_dtype
from sapiens_bench.pixels.coded_normals import coded_advice
from sapiens_bench.pixels.dense_maps import (
    DEPTH_SUFFIXES,
    LABEL_SUFFIXES,
    NORMAL_SUFFIXES,
    Limits,
    read_depth_map,
    read_label_map,
    read_normal_map,
)
from sapiens_bench.pixels.exr import require
from sapiens_bench.pixels.files import shown
from sapiens_bench.pixels.listing import composed, listed
from sapiens_bench.pixels.resize import resize_depth, resize_labels, resize_normals
from sapiens_bench.pixels.shapes import Shape, misfit
from sapiens_bench.tasks import task_kind
from sapiens_bench.tasks.depth.types import DepthPrediction
from sapiens_bench.tasks.normal.types import NormalPrediction
from sapiens_bench.tasks.seg.coding import border_of, coding_doubt
from sapiens_bench.tasks.seg.types import SegPrediction

SUFFIXES = {"seg": LABEL_SUFFIXES, "depth": DEPTH_SUFFIXES, "normal": NORMAL_SUFFIXES}
TASK_SUFFIXES = {"seg": ("", "_seg"), "depth": ("", "_depth"), "normal": ("", "_normal")}
METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001}
_CODED = 8  # files whose coding is looked at
_LOOKED_AT = 2000  # names that advice about a missing file is read off
LARGEST = 255  # of a label that fits the records of a run
_ADVICE = {  # what ``shapes.misfit`` says -> what to do about it
    "another size": "if the map covers the whole picture, say how to resize it (resize=nearest or bilinear)",
}
_CODES = {"image.missing": "pred.missing", "label.shape": "pred.shape", "label.value": "pred.label"}


class DenseResults:
    """The predictions of one folder.

    ``notes`` says which of several files for one sample counts.

    Raises:
        CheckpointRejected: the folder is none, cannot be read, or holds no file that could be a prediction.
        UsageError: EXR files, and the optional package for them is not installed.
    """

    def __init__(self, folder: Path, task: str, options: Any) -> None:
        self._folder, self._task, self._options = folder, task, options
        self._stored = None if task in SUFFIXES else task_kind(task).stored
        self._suffixes = SUFFIXES[task] if self._stored is None else self._stored.suffixes
        self._endings = TASK_SUFFIXES[task] if self._stored is None else self._stored.endings
        if not folder.is_dir():
            first, *others = self._suffixes
            raise CheckpointRejected(
                f"{folder} is not a folder of <sample name>{first} (or {', '.join(others)}) files."
            )
        self._files = _index(folder, self._suffixes)
        if not self._files:
            raise CheckpointRejected(f"{folder} holds no file with one of the endings {', '.join(self._suffixes)}.")
        if exr := next((p for paths in self._files.values() for p in paths[:1] if p.suffix.lower() == ".exr"), None):
            require(exr)
        n_several = sum(len(paths) > 1 for paths in self._files.values())
        several = next((paths for paths in self._files.values() if len(paths) > 1), ())
        self.notes: tuple[str, ...] = ()
        if several:
            names = " and ".join(shown(path.name) for path in several)
            self.notes = (f"{n_several} samples have several files ({names}): the first counts",)

    def prediction(self, key: str, size_hw: Shape) -> Any:
        """The stored prediction of one sample, at its picture's size.

        Raises:
            SampleFault: side ``prediction``; ``pred.missing``, ``pred.shape`` (both shapes), ``pred.label``,
                ``pred.encoding``, ``pred.unreadable``.
        """
        path = self.path(key)
        try:
            if isinstance(self._options, StoredLabels):
                return SegPrediction(self._labels(path, size_hw, self._options))
            if isinstance(self._options, StoredDepth):
                return DepthPrediction(self._depth(path, size_hw, self._options), self._options.depth_kind)
            if isinstance(self._options, StoredNormals):
                return NormalPrediction(self._normals(path, size_hw, self._options))
            assert self._stored is not None
            return self._stored.read(path, (size_hw[0], size_hw[1]), self._options)
        except SampleFault as fault:
            code = fault.code if fault.code.startswith("pred.") else _CODES.get(fault.code, "pred.unreadable")
            raise SampleFault(code, fault.detail, side="prediction") from None

    def coding_doubt(self, names: Sequence[str]) -> str:
        """What speaks against the labels being those of a set; "" where nothing does, or no file can be read.

        Args:
            names: of the set that the predictions are declared to be in.
        """
        if not isinstance(self._options, StoredLabels) or self._options.encoding == "mask":
            return ""
        borders = []
        for path in self._some():
            with suppress(SampleFault, ValueError):  # its own row will say so
                borders.append(border_of(read_label_map(path, Limits()), LARGEST))
        return coding_doubt(borders, names, LARGEST)

    def zero_doubt(self) -> str:
        """What is odd about zeros in maps of depth; "" where there are none, or 0 may be meant, or says nothing."""
        options = self._options
        if not isinstance(options, StoredDepth) or options.depth_kind not in ("metric_depth", "scale_invariant_depth"):
            return ""
        found = []
        for path in self._some():
            with suppress(SampleFault, ValueError):  # its own row will say so
                numbers = read_depth_map(path, Limits())
                if not numbers.are_counts and (numbers.values_HW == 0).any() and numbers.values_HW.any():
                    found.append(path)
        if not found:
            return ""
        return (
            f"{len(found)} of the {len(self._some())} depth maps looked at hold zeros ({shown(found[0].name)}): on a "
            "person they are scored as a depth of 0; write NaN where nothing was predicted"
        )

    def _some(self) -> list[Path]:
        """A few of the files, evenly spread."""
        files = [paths[0] for paths in self._files.values()]
        return files[:: -(-len(files) // _CODED)]

    def path(self, key: str) -> Path:
        """The file of a sample.

        Raises:
            SampleFault: ``pred.missing``, with what the folder holds.
        """
        tail = key.partition("/")[2] or key
        # The plain name first: "p0_seg" may be a sample of its own.
        endings = (self._options.suffix,) if self._options.suffix else self._endings
        names = [composed(name) for name in dict.fromkeys((key, tail, tail.replace("/", "_")))]
        for name in names:
            found = [paths[0] for ending in endings if (paths := self._files.get(f"{name}{ending}"))]
            if len(found) > 1 and self._is_mask(found[0]):
                return found[1]  # Sapiens' demo writes the person mask under the plain name
            if found:
                return found[0]
        first, *others = self._suffixes
        example = shown(next(iter(self._files.values()))[0].relative_to(self._folder))
        raise SampleFault(
            "pred.missing",
            f"no file {tail}{endings[0]}{first} (or {', '.join(others)}) for sample {key!r} in {shown(self._folder)}, "
            f"which holds {len(self._files)} such as {example}{self._suffix_of(names)}",
            side="prediction",
        )

    def _suffix_of(self, names: Sequence[str]) -> str:
        """Which option or folder would find a sample whose file has a longer name, or lies deeper."""
        some = list(itertools.islice(self._files, _LOOKED_AT))
        for file in some:
            rest = next((file.removeprefix(name) for name in names if file.startswith(name) and file != name), "")
            if rest and not rest[0].isalnum():
                return f"; option suffix={rest} would find it"
        inside = next((file for file in some for name in names if file.endswith(f"/{name}")), "")
        return f"; give its folder {shown(inside).rpartition('/')[0]} to find it" if inside else ""

    def _is_mask(self, path: Path) -> bool:
        return self._task == "seg" and path.suffix.lower() == ".npy" and npy_dtype(path) == np.bool_

    def _labels(self, path: Path, size_hw: Shape, options: StoredLabels) -> NDArray[np.uint8]:
        stored = self._sized(path, size_hw, read_label_map, resize_labels)
        if options.encoding == "mask":
            return np.asarray(stored != 0, np.uint8)
        wrong = (stored < 0) | (stored > LARGEST)
        if wrong.any():
            raise SampleFault("pred.label", f"{shown(path)}: label {int(stored[wrong][0])}")
        labels = stored.astype(np.uint8)
        if labels.max(initial=0) == LARGEST:
            raise SampleFault(
                "pred.label", f"{shown(path)}: label {LARGEST}; if it marks the person, set encoding=mask"
            )
        return labels

    def _depth(self, path: Path, size_hw: Shape, options: StoredDepth) -> NDArray[np.float32]:
        def read(path: Path, limits: Limits) -> NDArray[np.float32]:
            numbers = read_depth_map(path, limits)
            values = numbers.values_HW.astype(np.float32)
            if options.depth_kind == "metric_depth":
                if numbers.are_counts:
                    values[numbers.values_HW == 0] = np.nan
                values *= np.float32((options.count if numbers.are_counts else 1.0) * METRES[options.unit])
            return values

        resize = resize_depth if options.resize == "bilinear" else resize_labels
        depth = np.asarray(self._sized(path, size_hw, read, resize), np.float32)
        if not depth.any():
            raise SampleFault("pred.range", f"{shown(path)}: every value is 0, so nothing was predicted")
        return depth

    def _normals(self, path: Path, size_hw: Shape, options: StoredNormals) -> NDArray[np.float32]:
        def read(path: Path, limits: Limits) -> NDArray[np.float32]:
            return read_normal_map(path, limits, options.encoding, channels_first=True)

        resize = resize_normals if options.resize == "bilinear" else _nearest_normals
        stored = self._sized(path, size_hw, read, resize)
        if options.encoding == "auto" and (advice := coded_advice(stored.reshape(-1, 3), "set encoding=colour")):
            raise SampleFault("pred.encoding", f"{shown(path)}: {advice}")
        ordered = stored if options.order == "xyz" else stored[..., ::-1]
        return np.asarray(ordered * np.asarray(options.axis_sign, np.float32), np.float32)

    def _sized(
        self,
        path: Path,
        size_hw: Shape,
        read: Callable[[Path, Limits], NDArray[Any]],
        resize: Callable[[NDArray[Any], tuple[int, int]], NDArray[Any]],
    ) -> NDArray[Any]:
        """The map at the picture's size, brought there only where the options say how."""
        how = self._options.resize
        if not how:
            return self._at_size(path, size_hw, read)
        found = read(path, Limits())
        if found.shape[:2] == size_hw:
            return found
        if _is_turned(found.shape, size_hw):
            raise SampleFault("pred.shape", f"{shown(path)}: {misfit(found.shape, (*size_hw, *found.shape[2:]))}")
        try:
            return resize(found, (size_hw[1], size_hw[0]))
        except ShapeError as error:
            raise SampleFault("pred.shape", f"{shown(path)}: {error}") from None

    def _at_size(self, path: Path, size_hw: Shape, read: Callable[[Path, Limits], NDArray[Any]]) -> NDArray[Any]:
        try:
            return read(path, Limits(size_hw))
        except SampleFault as fault:
            advice = next((text for words, text in _ADVICE.items() if words in fault.detail), "")
            if fault.code == "label.shape" and advice:
                raise SampleFault("pred.shape", f"{fault.detail}; {advice}") from None
            raise


def _is_turned(found: Shape, size_hw: Shape) -> bool:
    """Portrait for landscape or the other way round: no resizing makes that right."""
    return (found[0] - found[1]) * (size_hw[0] - size_hw[1]) < 0


def _nearest_normals(normals_HW3: NDArray[Any], size_wh: tuple[int, int]) -> NDArray[np.float32]:
    return np.stack([resize_labels(normals_HW3[..., i], size_wh) for i in range(3)], axis=-1).astype(np.float32)


def _index(folder: Path, suffixes: Sequence[str]) -> dict[str, tuple[Path, ...]]:
    """Files by name (path below the folder without ending, NFC); several of one name in the order of ``suffixes``."""
    found: dict[str, list[Path]] = {}
    try:
        for path, inside, _ in listed(folder):
            stem, ending = os.path.splitext(inside)
            if ending.lower() in suffixes:
                found.setdefault(composed(stem), []).append(Path(path))
    except OSError as error:
        raise_if_machine(error)
        raise CheckpointRejected(f"{shown(folder)} cannot be read: {error.strerror or error}") from None
    rank = {suffix: i for i, suffix in enumerate(suffixes)}
    return {name: tuple(sorted(paths, key=lambda p: rank[p.suffix.lower()])) for name, paths in found.items()}
