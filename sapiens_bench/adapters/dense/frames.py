"""What the numbers in a folder mean: every folder declares it in ``frame.json``, and nothing is guessed.

    {"schema": "frame/1",
     "exif": "apply",
     "normals": {"frame": "viewer", "order": "xyz", "encoding": "auto"},
     "depth": {"unit": "m", "along": "z", "none": [-1]},
     "labels": {"space": "body28", "encoding": "index"}}

- ``exif``: whether the truth belongs to pictures as stored (``ignore``) or as viewed (``apply``); left out, a picture
  with an orientation is read where the sizes decide.
- ``normals``: ``frame`` is ``viewer`` (x right, y up, z towards the viewer: ours), ``opencv`` (x right, y down, z
  forward), or three signs that bring the stored axes to ours; ``order`` is the order of the stored channels;
  ``encoding`` is ``colour`` for (n + 1) / 2, ``vector``, or ``auto`` (whole numbers are colours).
- ``depth``: ``unit`` is ``m``, ``cm``, ``mm``, or ``relative`` (larger is farther; scored after scale and shift only);
  of 16-bit pictures one count is ``count`` units, and 0 means no value; ``none`` lists further stored numbers that mean
  no value; ``along`` is ``z``, or ``ray`` for the length of the viewing ray, which needs intrinsics.
- ``labels``: ``encoding`` is ``index``, or ``mask`` where everything but 0 is the person of a set of two (0 and 255,
  for example).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sapiens_bench.adapters.surface import PLAUSIBLE_M
from sapiens_bench.errors import DataMissing, DatasetRejected
from sapiens_bench.pixels import strict_json
from sapiens_bench.pixels.coded_normals import Encoding
from sapiens_bench.tasks.normal.evidence import FRAMES

FILE = "frame.json"
METRES: dict[str, float] = {"m": 1.0, "cm": 0.01, "mm": 0.001}
USUAL_M = 2.5  # between two plausible units, the one that puts the person nearer to this
Sign = Literal[-1, 1]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class NormalFrame(_Part):
    """Stored channels -> our axes."""

    frame: Literal["viewer", "opencv"] | tuple[Sign, Sign, Sign]
    order: Literal["xyz", "zyx"] = "xyz"
    encoding: Encoding = "auto"

    @property
    def sign(self) -> tuple[int, int, int]:
        """What the ordered channels are multiplied by."""
        return FRAMES[self.frame] if isinstance(self.frame, str) else self.frame

    def corrected(self, sign: tuple[int, int, int], order: str) -> NormalFrame:
        """The declaration under which what comes out in our frame is reordered, then multiplied by ``sign``."""
        is_kept = order == "xyz"
        x, y, z = (a * b for a, b in zip(sign, self.sign if is_kept else self.sign[::-1]))
        other: Literal["xyz", "zyx"] = "zyx" if self.order == "xyz" else "xyz"
        name = next((name for name, known in FRAMES.items() if known == (x, y, z)), None)
        said: dict[str, Any] = {"frame": name or [x, y, z], "order": self.order if is_kept else other}
        return NormalFrame.model_validate_json(json.dumps({**said, "encoding": self.encoding}))

    def to_ours(self, stored_HW3: NDArray[np.floating]) -> NDArray[np.float32]:
        """Unit normals in our frame, float32 [H, W, 3]; NaN where the stored vector is zero or not finite."""
        ordered = stored_HW3 if self.order == "xyz" else stored_HW3[..., ::-1]
        n = ordered.astype(np.float64) * np.asarray(self.sign, np.float64)
        length = np.linalg.norm(n, axis=-1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.where(length > 0, n / length, np.nan), np.float32)


class DepthFrame(_Part):
    """Stored numbers -> metres along z."""

    unit: Literal["m", "cm", "mm", "relative"]
    along: Literal["z", "ray"] = "z"
    count: Annotated[float, Field(gt=0)] = 1.0  # units per count of a 16-bit picture
    none: tuple[float, ...] = ()  # stored numbers that mean no value; NaN, infinity and numbers up to 0 always do

    @property
    def metres(self) -> float:
        """Metres per unit; 1 for relative depth."""
        return METRES.get(self.unit, 1.0)

    def suspicion(self, median: float) -> str:
        """What a median person depth (already in metres by this declaration) points to; "" when it is plausible."""
        low, high = PLAUSIBLE_M
        if self.unit == "relative" or low <= median <= high or not np.isfinite(median) or median <= 0:
            return ""
        stored = median / self.metres
        inside = [name for name, factor in METRES.items() if name != self.unit and low <= stored * factor <= high]
        likely = min(inside, key=lambda name: abs(math.log(stored * METRES[name] / USUAL_M)), default="")
        names = {"m": "metres", "cm": "centimetres", "mm": "millimetres"}
        guess = f"looks like {names[likely]}" if likely else "no unit makes it plausible"
        return f"median person depth {median:.4g} m under the declared unit {self.unit!r}: {guess}"


class LabelFrame(_Part):
    """Which label set the index maps use."""

    space: str
    encoding: Literal["index", "mask"] = "index"


class Frame(_Part):
    """The whole declaration."""

    schema_: Literal["frame/1"] = Field(alias="schema")
    exif: Literal["ignore", "apply"] | None = None
    normals: NormalFrame | None = None
    depth: DepthFrame | None = None
    labels: LabelFrame | None = None


def read_frame(root: Path, said: Mapping[str, Any] | None = None, *, needed: bool = True) -> Frame:
    """The declaration of a folder.

    Args:
        said: parts that options declare: laid over what the file says.
        needed: whether a folder without ``frame.json``, of which ``said`` says nothing either, is refused.

    Raises:
        DataMissing: there is no declaration.
        DatasetRejected: it is malformed, or names a frame, unit or key that is not known.
    """
    path = root / FILE
    data: Any = {"schema": "frame/1"}
    if path.exists() or (needed and not said):
        try:
            data = strict_json.parse(strict_json.read_bytes(path), path)
        except DataMissing as error:
            raise DataMissing(f"{error}. {_EXAMPLE}") from None
    if said and isinstance(data, dict):
        for key, part in said.items():
            old = data.get(key)
            data[key] = {**old, **part} if isinstance(old, dict) and isinstance(part, dict) else part
    try:
        return Frame.model_validate_json(json.dumps(data))  # JSON mode: lists are tuples, and nothing else is bent
    except ValidationError as error:
        faults = [f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}, found {e['input']!r}" for e in error.errors()]
        raise DatasetRejected(str(path), faults[:20], _HELP) from None


_EXAMPLE = (
    'It says what the numbers mean, for example {"schema": "frame/1", "depth": {"unit": "m"}, "normals": {"frame": '
    '"viewer"}, "labels": {"space": "body28"}}. Write it, with the parts that the folder has.'
)
_HELP = (
    "Frames of normals: 'viewer' (x right, y up, z towards the viewer), 'opencv' (x right, y down, z forward) or three "
    "signs. Units of depth: m, cm, mm, relative."
)
