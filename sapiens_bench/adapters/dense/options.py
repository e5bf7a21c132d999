"""The choices that plain dense folders offer beside their own declaration."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from sapiens_bench.adapters.dense.frames import Sign
from sapiens_bench.cards.options import Options
from sapiens_bench.pixels.coded_normals import Encoding


class FolderOptions(Options):
    """Of ``dense_folder``. What the numbers mean stands in frame.json; the options of that kind are laid over it."""

    images: str = ""
    """Folder of the pictures, where it has none of the usual names (images, image, rgb, img)."""
    masks: str = ""
    """Folder of the person masks (masks, mask)."""
    depths: str = ""
    """Folder of the depth maps (depths, depth)."""
    normals: str = ""
    """Folder of the normals (normals, normal)."""
    labels: str = ""
    """Folder of the label maps (labels, label)."""
    cameras: str = ""
    """Folder of the camera matrices (camera_intrinsics)."""
    exif: Literal["", "ignore", "apply"] = ""
    """Whether the truth belongs to pictures as stored (ignore) or as viewed (apply)."""
    space: str = ""
    """Label set of the label maps."""
    label_encoding: Literal["", "index", "mask"] = ""
    """mask: everything but 0 is the person of a set of two; 0 and 255, for example."""
    unit: Literal["", "m", "cm", "mm", "relative"] = ""
    """Unit of the depth maps."""
    along: Literal["", "z", "ray"] = ""
    """Depth along the optical axis, or length of the viewing ray."""
    count: Annotated[float, Field(gt=0)] | None = None
    """Units per count of 16-bit depth pictures."""
    none: tuple[float, ...] = ()
    """Stored depth numbers that mean no value."""
    frame: Literal["", "viewer", "opencv"] | tuple[Sign, Sign, Sign] = ""
    """Axes of the normals, or three signs that bring them to ours (x right, y up, z towards the viewer)."""
    order: Literal["", "xyz", "zyx"] = ""
    """Order of the stored channels of normals."""
    normal_encoding: Encoding | Literal[""] = ""
    """colour: normals are stored as (n + 1) / 2; vector: as they are; auto: whole numbers are colours."""
    trusted: bool = False
    """Believe the declaration where the numbers speak against it: a note instead of a refusal."""
    pictures: bool = True
    """False: the pictures are not opened; only stored predictions can be scored then."""
    infer: bool = False
    """What is not declared is read off the files where only one reading makes sense, and said."""
    about_files: ClassVar[frozenset[str]] = frozenset(
        {"images", "masks", "depths", "normals", "labels", "cameras", "exif"}
        | {"space", "label_encoding", "unit", "along", "count", "none", "frame", "order", "normal_encoding"}
    )

    def declared(self) -> dict[str, Any]:
        """The parts of a declaration that are given here, in the form of frame.json."""
        parts: dict[str, dict[str, Any]] = {
            "depth": {"unit": self.unit, "along": self.along, "count": self.count, "none": list(self.none)},
            "normals": {"frame": self.frame, "order": self.order, "encoding": self.normal_encoding},
            "labels": {"space": self.space, "encoding": self.label_encoding},
        }
        given = {key: {k: v for k, v in part.items() if v not in ("", None, [])} for key, part in parts.items()}
        said: dict[str, Any] = {key: part for key, part in given.items() if part}
        return said | ({"exif": self.exif} if self.exif else {})

    def named(self) -> dict[str, str]:
        """Folder names by role, where they are given."""
        names = {
            "image": self.images,
            "mask": self.masks,
            "depth": self.depths,
            "normal": self.normals,
            "seg": self.labels,
            "camera": self.cameras,
        }
        return {role: name for role, name in names.items() if name}
