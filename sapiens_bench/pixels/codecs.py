"""Reading pictures: one decoder (Pillow), one policy.

The bytes are read once, their sha256 is checked when one is known, the size is read from the header before anything is
decoded, and only then pixels are made. OpenCV is not used: it returns half-grey pictures for cut files and decodes
bombs (specs: reliability, section 2.1). Pillow's full ``load()`` is the check, so a second decoder could only add time.
Every function is safe to call from several threads.

Axes: H height, W width.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sapiens_bench.errors import PathEscape, SampleFault, UsageError
from sapiens_bench.pixels.arrays import load_npy as load_npy
from sapiens_bench.pixels.arrays import load_npz as load_npz

# "unstated": nobody said, so an orientation that the declared size cannot confirm or rule out is a fault.
ExifPolicy = Literal["ignore", "apply", "unstated"]

MAX_PIXELS = 100_000_000
# Formats a data set may use. EPS and the like are left out on purpose: Pillow starts Ghostscript for them.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "MPO", "JPEG2000", "AVIF")
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_rgb(
    path: Path | str,
    *,
    exif: ExifPolicy = "ignore",
    sha256: str | None = None,
    max_pixels: int = MAX_PIXELS,
    expected_size: tuple[int, int] | None = None,
    root: Path | None = None,
) -> NDArray[np.uint8]:
    """A picture as uint8 RGB, [H, W, 3]. Alpha is dropped, 16-bit grey is divided by 257, the first frame counts.

    Args:
        path: the file; relative to ``root`` when that is given.
        exif: whether the EXIF orientation is applied. (The orientation tag of a TIFF always is.) ``unstated`` refuses
            an orientation that the declared size neither confirms nor rules out.
        sha256: expected hash of the file.
        max_pixels: larger pictures are refused from the header.
        expected_size: (width, height) that the annotation declares.
        root: folder the file must lie in, links resolved.

    Raises:
        SampleFault: side ``input``; ``image.missing``, ``.path``, ``.sha256``, ``.too_large``, ``.decode``,
            ``.truncated``, ``.size``, ``.exif_policy``.
    """
    image = _decode(_read_bytes(path, root, sha256, max_pixels), max_pixels, exif, expected_size, str(path))
    return _to_rgb(image, str(path))


def read_labels(
    path: Path | str,
    *,
    sha256: str | None = None,
    max_pixels: int = MAX_PIXELS,
    expected_size: tuple[int, int] | None = None,
    root: Path | None = None,
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """An index map, [H, W]: uint8 from 8-bit grey or palette pictures (palette indices as stored), uint16 from 16-bit.

    Raises:
        SampleFault: as ``read_rgb``, and ``label.mode`` for a colour picture.
    """
    image = _decode(_read_bytes(path, root, sha256, max_pixels), max_pixels, "ignore", expected_size, str(path))
    if image.mode in ("L", "P", "1"):
        return np.asarray(image).astype(np.uint8)
    if image.mode.startswith("I"):
        return _sixteen_bit(image, str(path))
    raise SampleFault("label.mode", f"{path}: mode {image.mode}; a label map must be a grey or palette picture")


def read_mask(path: Path | str, *, max_pixels: int = MAX_PIXELS, root: Path | None = None) -> NDArray[np.bool_]:
    """A person mask, bool [H, W]: any colour channel above 0; alpha, where all colours are black.

    Raises:
        SampleFault: as ``read_rgb``.
    """
    image = _decode(_read_bytes(path, root, None, max_pixels), max_pixels, "ignore", None, str(path))
    if image.mode.startswith("I"):
        return np.asarray(_sixteen_bit(image, str(path)) > 0)
    if image.mode in ("L", "1"):
        return np.asarray(np.asarray(image) > 0)
    seen = np.asarray((_to_rgb(image, str(path)) > 0).any(axis=2))
    if not seen.any() and image.mode in ("RGBA", "LA"):
        return np.asarray(np.asarray(image)[..., -1] > 0)
    return seen


def read_depth_png(
    path: Path | str, *, metres_per_unit: float, invalid: int = 0, root: Path | None = None
) -> NDArray[np.float32]:
    """A 16-bit depth picture in metres, float32 [H, W]; NaN where the stored value is ``invalid``.

    Raises:
        SampleFault: as ``read_rgb``, and ``label.mode`` when the picture is not 16-bit grey.
    """
    image = _decode(_read_bytes(path, root, None, MAX_PIXELS), MAX_PIXELS, "ignore", None, str(path))
    if not image.mode.startswith("I"):
        raise SampleFault("label.mode", f"{path}: mode {image.mode}; a depth picture must be 16-bit grey")
    stored = _sixteen_bit(image, str(path))
    depth = stored.astype(np.float32) * np.float32(metres_per_unit)
    depth[stored == invalid] = np.nan
    return depth


def read_exr(path: Path | str, channels: tuple[str, ...], *, root: Path | None = None) -> NDArray[np.float32]:
    """Named channels of an OpenEXR file, float32 [H, W, C].

    Raises:
        UsageError: the optional package is not installed.
        SampleFault: ``image.missing``, ``image.path``, ``image.decode``, or ``label.channels`` with those present.
    """
    try:
        import OpenEXR
    except ImportError:
        raise UsageError(
            f"{path} is an EXR file and reading it needs the optional package: pip install 'sapiens-vision-bench[exr]'"
        ) from None
    real = _locate(path, root)
    try:
        with OpenEXR.File(str(real), separate_channels=True) as file:
            present = {name: np.asarray(channel.pixels) for name, channel in file.channels().items()}
    except Exception as error:  # the binding raises bare RuntimeError and friends
        raise SampleFault("image.decode", f"{path}: not a readable EXR file ({error})") from None
    missing = [name for name in channels if name not in present]
    if missing:
        raise SampleFault("label.channels", f"{path}: no channel {missing}, the file has {sorted(present)}")
    return np.stack([present[name] for name in channels], axis=-1).astype(np.float32)


def path_fault(relative: object) -> str | None:
    """Why ``relative`` may not name a file below a root, or None when it may."""
    if not isinstance(relative, str):
        return f"is {type(relative).__name__}, not text"
    if not relative:
        return "is empty"
    if "\0" in relative:
        return "holds a NUL character"
    if "\\" in relative or "://" in relative or (relative[1:2] == ":" and relative[0].isalpha()):
        return "is a URL, has a drive letter or a backslash"
    if relative.startswith("/"):
        return "is absolute"
    parts = relative.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "has an empty, '.' or '..' part"
    try:
        if max(len(part.encode()) for part in parts) > 255:
            return "has a part of more than 255 bytes"
    except UnicodeEncodeError:
        return "is not valid Unicode"
    return None


def safe_join(root: Path, relative: str) -> Path:
    """The real path of ``root/relative``, links resolved; it need not exist.

    Raises:
        PathEscape: the path is not a plain relative one, or leaves the root.
    """
    fault = path_fault(relative)
    if fault is not None:
        raise PathEscape(f"path {str(relative)[:80]!r} below {root} {fault}")
    base = Path(os.path.realpath(root))
    real = Path(os.path.realpath(base / relative))
    if not real.is_relative_to(base):
        raise PathEscape(
            f"{relative!r} leaves {root} through a link (to {real}). Give the real folder as root, or copy the file."
        )
    return real


def _locate(path: Path | str, root: Path | None) -> Path:
    """The file to open, links resolved and inside ``root``."""
    try:
        if root is None:
            return Path(os.path.realpath(path))
        if not os.path.isabs(path):
            return safe_join(root, str(path))
        return safe_join(root, str(Path(path).relative_to(root)))
    except (PathEscape, ValueError) as error:
        raise SampleFault("image.path", str(error)) from None


def _read_bytes(path: Path | str, root: Path | None, sha256: str | None, max_pixels: int) -> bytes:
    real = _locate(path, root)
    try:
        # Non-blocking, so that a pipe in place of a picture cannot hang the run.
        descriptor = os.open(real, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SampleFault("image.missing", f"{path}: {reason}") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise SampleFault("image.missing", f"{path} is a folder or device, not a file")
    with os.fdopen(descriptor, "rb") as file:
        if status.st_size > 16 * max_pixels + (1 << 20):
            raise SampleFault("image.too_large", f"{path}: {status.st_size} bytes, far above {max_pixels} pixels")
        data = file.read()
    if sha256 is not None and (found := hashlib.sha256(data).hexdigest()) != sha256:
        raise SampleFault("image.sha256", f"{path}: sha256 {found}, the manifest says {sha256}")
    return data


def _decode(
    data: bytes, max_pixels: int, exif: ExifPolicy, expected_size: tuple[int, int] | None, name: str
) -> Image.Image:
    """Header checks, then a full decode; the orientation applied if the policy says so."""
    data, block = _without_exif(data)
    image = _open_header(data, name)
    width, height = image.size
    if width < 1 or height < 1:
        raise SampleFault("image.decode", f"{name}: width {width}, height {height}")
    if width * height > max_pixels:
        raise SampleFault("image.too_large", f"{name}: {width}x{height} is over {max_pixels} pixels (--max-pixels)")
    orientation = _orientation(block or image.info.get("exif", b""))
    turn = _TRANSPOSE.get(orientation) if exif == "apply" else None
    swaps = turn in (_TRANSPOSE[5], _TRANSPOSE[6], _TRANSPOSE[7], _TRANSPOSE[8])
    _check_size((height, width) if swaps else (width, height), expected_size, exif, name)
    if exif == "unstated" and orientation in _TRANSPOSE and (orientation <= 4 or width == height or not expected_size):
        raise SampleFault(
            "image.exif_policy",
            f"{name}: EXIF orientation {orientation}, and the size does not tell whether the labels are turned, too; "
            "write 'exif: apply' (labels made on the upright picture) or 'exif: ignore' in the data-set card",
        )
    try:
        image.load()
        return image if turn is None else image.transpose(turn)
    except Exception as error:  # decoders of ten formats raise whatever they like; each is one image's fault
        cut = "truncated" in str(error) or isinstance(error, EOFError)
        code = "image.truncated" if cut else "image.decode"
        raise SampleFault(code, f"{name}: {_reason(error)}") from None


def _open_header(data: bytes, name: str) -> Image.Image:
    """The lazily opened picture: ``Image.open`` without its warning above 89 megapixels.

    That warning can be silenced or raised only through process-wide state, which is not safe in threads; our own limit
    is checked right after.
    """
    if not data:
        raise SampleFault("image.decode", f"{name}: the file is empty")
    Image.preinit()
    for initialise in (None, Image.init):
        if initialise is not None:
            initialise()
        for wanted in FORMATS:
            factory, accept = Image.OPEN.get(wanted, (None, None))
            if factory is None or (accept is not None and accept(data[:16]) is not True):
                continue
            try:
                image: Image.Image = factory(BytesIO(data), "")
            except Exception as error:  # not a picture of this format after all, or a broken header
                detail = f"broken {wanted} header ({_reason(error)})"
                raise SampleFault("image.decode", f"{name}: {detail}") from None
            return image
    start = data[:24]
    raise SampleFault("image.decode", f"{name}: not a picture of a known format; it starts with {start!r}")


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _check_size(found: tuple[int, int], expected: tuple[int, int] | None, exif: ExifPolicy, name: str) -> None:
    if expected is None or found == tuple(expected):
        return
    sizes = f"{name}: picture is {found[0]}x{found[1]}, annotation says {expected[0]}x{expected[1]}"
    if found[::-1] == tuple(expected):
        other = "ignore" if exif == "apply" else "apply"
        raise SampleFault("image.exif_policy", f"{sizes}; write 'exif: {other}' in the data-set card")
    raise SampleFault("image.size", sizes)


def _without_exif(data: bytes) -> tuple[bytes, bytes]:
    """A JPEG's bytes without its EXIF segment, and that segment; other files as they are.

    Pillow reads the segment while opening (for the resolution) and emits warnings when it is corrupt.
    """
    position = 2
    while data[:2] == b"\xff\xd8" and data[position : position + 1] == b"\xff" and position + 4 <= len(data):
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        end = position + 2 + length
        if marker == 0xE1 and data[position + 4 : position + 10] == b"Exif\0\0" and end <= len(data):
            return data[:position] + data[end:], data[position + 4 : end]
        if (not 0xE0 <= marker <= 0xEF and marker != 0xFE) or length < 2:
            break
        position = end
    return data, b""


def _orientation(block: bytes) -> int:
    """Orientation 1-8 of an EXIF block; 1 where there is none or it is corrupt."""
    block = block[6:] if block[:6] == b"Exif\0\0" else block
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    try:
        if order is None:
            return 1
        (start,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, start)
        for i in range(count):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", block, start + 2 + 12 * i)
            if tag == 274:
                return value if kind == 3 and 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1


def _to_rgb(image: Image.Image, name: str) -> NDArray[np.uint8]:
    if image.mode.startswith("I"):
        # Pillow's own conversion clips: 40000 would become 255.
        grey = ((_sixteen_bit(image, name).astype(np.uint32) + 128) // 257).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode == "F":
        raise SampleFault("image.decode", f"{name}: floating-point pixels have no agreed range; store 8 or 16 bits")
    if image.mode == "P":
        image = image.convert("RGBA")  # straight to RGB, Pillow warns about palettes with transparency
    return np.array(image if image.mode == "RGB" else image.convert("RGB"), dtype=np.uint8)


def _sixteen_bit(image: Image.Image, name: str) -> NDArray[np.uint16]:
    values = np.asarray(image)
    if values.size and (values.min() < 0 or values.max() > 65535):
        raise SampleFault("image.decode", f"{name}: grey values outside 0..65535")
    return values.astype(np.uint16)
