"""What was rendered from what: lines that two labs compare without exchanging licensed data.

A hash of rounded values answers "equal" with certainty, but cannot answer "nearly": among a million pixels some lie on
a rounding boundary, and one last bit that differs between C libraries then changes the hash. So each array also carries
a **sketch**: its products with 32 fixed random sign patterns. For two arrays with difference D, every product of the
sketches' difference has variance |D|^2, so their mean square estimates the length of D (to 13 % with 32 patterns)
although D itself is never seen. The length is at least the largest single difference; below the tolerance it proves,
up to that 13 %, that no pixel differs by more. 32 numbers for 100,000 pixels give no image back.

``compare`` therefore says *equal* (hashes agree), *close* (hashes differ, sketches agree within tolerance) or
*different*, and by how much. Masks and labels have no tolerance.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import DataError, DataMissing, ShapeError
from sapiens_bench.render.camera import Camera

SCHEMA = "render-manifest/1"
RENDERER_VERSION = 1  # raised whenever depth, normals, masks or colours of an unchanged input can change
SKETCH_SIZE = 32
_SKETCH_GRID = 4096  # parts of a rounding step: whole numbers, so that sums are exact in any order on any machine
FIELD_TOLERANCE = 1e-9  # relative, for floats of camera and normalisation; a wrong camera is off by far more

Verdict = Literal["equal", "close", "different", "missing"]


class Kind(NamedTuple):
    """How an array is rounded before hashing, and how much two renders may differ."""

    step: float  # values are hashed as rint(value / step); 1 for integers
    tolerance: float  # 0: only the hash counts
    norm: Literal["largest", "rms"]  # the tolerance bounds the largest difference, or the root mean square
    unit: str


KINDS: dict[str, Kind] = {
    "mask": Kind(1, 0, "largest", "pixels"),
    "labels": Kind(1, 0, "largest", "pixels"),
    "depth": Kind(1e-4, 1e-4, "largest", "m"),  # 0.1 mm
    "normal": Kind(1 / 1024, 1 / 1024, "largest", ""),
    "rgb": Kind(1, 0.5, "rms", "levels of 255"),  # shading calls the C library, so single levels may differ
    "keypoints": Kind(1 / 64, 1 / 64, "largest", "px"),
}


@dataclass(frozen=True, slots=True)
class ArrayDigest:
    """One array without its values."""

    sha256: str  # of shape and rounded values
    n: int  # values that are defined (pixels times channels); of masks and labels: those that are not 0
    sketch: tuple[float, ...]  # SKETCH_SIZE products with fixed sign patterns


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One rendered view."""

    key: str  # unique in the manifest, e.g. "<scan>/<framing>/<view>"
    camera: Camera
    arrays: Mapping[str, ArrayDigest]  # by kind
    source: Mapping[str, Any] = field(default_factory=dict)  # obj_sha256, texture_sha256, normalisation, seed ...
    view: Mapping[str, Any] = field(default_factory=dict)  # framing, rule, light, background ...
    renderer: int = RENDERER_VERSION


@dataclass(frozen=True, slots=True)
class Difference:
    """What ``compare`` found for one key."""

    key: str
    verdict: Verdict
    reasons: tuple[str, ...]  # one sentence each


@dataclass(frozen=True, slots=True)
class Comparison:
    """Result of comparing two manifests."""

    n_equal: int
    differences: tuple[Difference, ...]  # everything but the equal ones, by key

    @property
    def verdict(self) -> Verdict:
        """``equal``; ``close`` when nothing worse than close was found; else ``different``."""
        if not self.differences:
            return "equal"
        return "close" if all(d.verdict == "close" for d in self.differences) else "different"


def digest(kind: str, array: NDArray[Any], mask_HW: NDArray[np.bool_] | None = None) -> ArrayDigest:
    """Hash and sketch of an array.

    Args:
        kind: key of ``KINDS``.
        array: [H, W] or [H, W, C]; keypoints [N, K, 2]. Depth in metres, normals as unit vectors, colour in 0..255.
        mask_HW: where values are defined. Without it all are; NaN must not remain.

    Raises:
        ShapeError: mask and array disagree, or undefined values are not masked out.
    """
    values = np.asarray(array, np.float64)
    if mask_HW is not None:
        if values.shape[: mask_HW.ndim] != mask_HW.shape:
            raise ShapeError(f"{kind} {values.shape} and its mask {mask_HW.shape} disagree")
        spread = np.broadcast_to(mask_HW.reshape(mask_HW.shape + (1,) * (values.ndim - mask_HW.ndim)), values.shape)
        index = np.flatnonzero(spread)
    else:
        index = np.arange(values.size)
    chosen = values.reshape(-1)[index]
    if not np.isfinite(chosen).all():
        raise ShapeError(f"{kind} holds NaN or infinity where it should be defined; pass its mask")
    rounded = np.full(values.size, np.iinfo(np.int32).min, "<i4")
    rounded[index] = np.rint(chosen / KINDS[kind].step)
    sha256 = hashlib.sha256(f"{SCHEMA} {kind} {list(values.shape)}\n".encode())
    sha256.update(rounded.tobytes())
    n = len(index) if KINDS[kind].tolerance else int(np.count_nonzero(chosen))
    step = KINDS[kind].step / _SKETCH_GRID
    return ArrayDigest(sha256.hexdigest(), n, _sketch(np.rint(chosen / step), index, values.size, step))


def _sketch(chosen: NDArray[np.float64], index: NDArray[np.int64], size: int, step: float) -> tuple[float, ...]:
    """Products of whole numbers with sign patterns, times ``step``; bit j of the random word of element i is the sign
    of i in pattern j."""
    words = np.random.Philox(key=SKETCH_SIZE).random_raw((size + 1) // 2)
    words = np.asarray(words, "<u8").view("<u4")
    counts = np.flatnonzero(chosen)
    chosen, index = chosen[counts], index[counts]
    total = np.zeros(SKETCH_SIZE)
    for start in range(0, len(index), 1 << 15):
        part = slice(start, start + (1 << 15))
        bits = np.unpackbits(words[index[part]].view(np.uint8).reshape(-1, 4), axis=1, bitorder="little")
        total += 2.0 * (chosen[part] @ bits.astype(np.float64)) - chosen[part].sum()
    return tuple(float(f"{value * step:.10g}") for value in total)


def distance(a: ArrayDigest, b: ArrayDigest) -> float:
    """Estimated Euclidean length of the difference of two arrays, from their sketches (relative error about 13 %)."""
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a.sketch, b.sketch)) / SKETCH_SIZE)


def compare(a: Iterable[ManifestEntry], b: Iterable[ManifestEntry]) -> Comparison:
    """Every view of two manifests, matched by key: equal, close, different or missing."""
    left, right = ({entry.key: entry for entry in entries} for entries in (a, b))
    differences: list[Difference] = []
    for key in sorted({*left, *right}):
        if key not in left or key not in right:
            where = "second" if key in left else "first"
            differences.append(Difference(key, "missing", (f"not in the {where} manifest",)))
            continue
        found = _compare_entry(left[key], right[key])
        if found.verdict != "equal":
            differences.append(found)
    return Comparison(len({*left, *right}) - len(differences), tuple(differences))


def _compare_entry(a: ManifestEntry, b: ManifestEntry) -> Difference:
    reasons = [
        *_field_differences("camera", _camera_fields(a.camera), _camera_fields(b.camera)),
        *_field_differences("source", _plain(a.source), _plain(b.source)),
        *_field_differences("view", _plain(a.view), _plain(b.view)),
        *_field_differences("renderer", a.renderer, b.renderer),
    ]
    verdict: Verdict = "different" if reasons else "equal"
    for kind in sorted({*a.arrays, *b.arrays}):
        if kind not in a.arrays or kind not in b.arrays:
            reasons.append(f"{kind}: only in one manifest")
            verdict = "different"
            continue
        state, reason = _compare_array(kind, a.arrays[kind], b.arrays[kind])
        if state != "equal":
            reasons.append(reason)
            verdict = "different" if "different" in (state, verdict) else "close"
    return Difference(a.key, verdict, tuple(reasons))


def _compare_array(name: str, a: ArrayDigest, b: ArrayDigest) -> tuple[Verdict, str]:
    if a.sha256 == b.sha256:
        return "equal", ""
    kind, length = KINDS[name], distance(a, b)
    if kind.tolerance == 0:  # values differ by 1 or more, so the squared length is no less than the number of pixels
        return (
            "different",
            f"{name}: at most about {max(1, round(length**2)):,} {kind.unit} differ ({a.n:,} and {b.n:,} set)",
        )
    if a.n != b.n:
        return "different", f"{name}: defined on {a.n:,} and {b.n:,} values"
    found = length / math.sqrt(max(1, a.n)) if kind.norm == "rms" else length
    state: Verdict = "close" if found <= kind.tolerance else "different"
    bound = "root mean square" if kind.norm == "rms" else "largest difference at most"
    text = f"{name}: {bound} about {found:.2g} {kind.unit}".rstrip()
    return state, f"{text} (tolerance {kind.tolerance:.2g})"


def _field_differences(name: str, a: Any, b: Any) -> list[str]:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        keys = sorted({*a, *b})
        return [text for key in keys for text in _field_differences(f"{name}.{key}", a.get(key), b.get(key))]
    if isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        return [text for i, (x, y) in enumerate(zip(a, b)) for text in _field_differences(f"{name}[{i}]", x, y)]
    if isinstance(a, float | int) and isinstance(b, float | int) and not isinstance(a, bool) | isinstance(b, bool):
        if a == b or math.isclose(a, b, rel_tol=FIELD_TOLERANCE, abs_tol=FIELD_TOLERANCE):
            return []
    elif a == b:
        return []
    return [f"{name}: {a!r} and {b!r}"]


# JSON Lines ----------------------------------------------------------------------------------------------------------


def _camera_fields(camera: Camera) -> dict[str, Any]:
    arrays = {name: getattr(camera, name).tolist() for name in ("K", "R", "t")}
    kind = {"orthographic": True} if camera.is_orthographic else {}
    return {**arrays, "width": camera.width, "height": camera.height, **kind}


def _plain(value: Any) -> Any:
    """What JSON can hold: arrays and tuples as lists, NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_record(entry: ManifestEntry) -> dict[str, Any]:
    """The entry as JSON can hold it: one line of a manifest."""
    arrays = {
        kind: {"sha256": d.sha256, "n": d.n, "sketch": list(d.sketch)} for kind, d in sorted(entry.arrays.items())
    }
    return {
        "schema": SCHEMA,
        "key": entry.key,
        "renderer": entry.renderer,
        "source": _plain(entry.source),
        "view": _plain(entry.view),
        "camera": _camera_fields(entry.camera),
        "arrays": arrays,
    }


def manifest_bytes(entries: Iterable[ManifestEntry]) -> bytes:
    """One line per view in key order, UTF-8; what is no Unicode in a file's name stays an escape of JSON."""
    lines = [
        json.dumps(to_record(entry), ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"
        for entry in sorted(entries, key=lambda e: e.key)
    ]
    return "".join(lines).encode("utf-8", "backslashreplace")


def write_manifest(path: Path, entries: Sequence[ManifestEntry]) -> None:
    """``manifest_bytes`` in a file, written beside ``path`` and renamed into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{uuid.uuid4().hex}")
    try:
        with open(temporary, "xb") as file:
            file.write(manifest_bytes(entries))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_manifest(path: Path) -> list[ManifestEntry]:
    """The views of a manifest, in file order.

    Raises:
        DataMissing: no such file.
        DataError: a line is not an entry of this schema, or a key appears twice; names the line.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except OSError as error:
        raise DataMissing(f"Manifest {path} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise DataError(f"Manifest {path} is not UTF-8 text. Expected JSON Lines of schema {SCHEMA}.") from None
    entries: dict[str, ManifestEntry] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = from_record(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ShapeError) as error:
            what = f"{type(error).__name__}: {error}"[:200]
            raise DataError(f"Manifest {path}, line {number} is not an entry of schema {SCHEMA} ({what}).") from None
        if entry.key in entries:
            raise DataError(f"Manifest {path}, line {number}: key {entry.key!r} appears twice.")
        entries[entry.key] = entry
    return list(entries.values())


def from_record(record: dict[str, Any]) -> ManifestEntry:
    """The entry of one parsed line.

    Raises:
        ValueError, KeyError, TypeError, AttributeError, ShapeError: not an entry of this schema.
    """
    if record["schema"] != SCHEMA:
        raise ValueError(f"schema is {record['schema']!r}")
    camera = record["camera"]
    arrays = {}
    for kind, d in record["arrays"].items():
        sketch = tuple(float(x) for x in d["sketch"])
        if kind not in KINDS or len(sketch) != SKETCH_SIZE or not all(map(math.isfinite, sketch)):
            raise ValueError(f"array {kind!r} is unknown or its sketch is not {SKETCH_SIZE} numbers")
        arrays[kind] = ArrayDigest(str(d["sha256"]), int(d["n"]), sketch)
    K, R, t = (np.array(camera[name], np.float64) for name in ("K", "R", "t"))
    return ManifestEntry(
        key=str(record["key"]),
        camera=Camera(K, R, t, camera["width"], camera["height"], bool(camera.get("orthographic", False))),
        arrays=arrays,
        source=dict(record["source"]),
        view=dict(record["view"]),
        renderer=int(record["renderer"]),
    )
