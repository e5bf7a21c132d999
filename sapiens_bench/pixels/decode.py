"""From the bytes of a picture to Pillow's image: one decoder, one policy, and nothing decoded before it is bounded.

The bytes are read once, their sha256 is checked when one is known, the size is read from the header, and only then
pixels are made. OpenCV is not used: it returns half-grey pictures for cut files and decodes bombs. Pillow's full
``load()`` is the check, so a second decoder could only add time. Every function is safe to call from several threads.
"""

from __future__ import annotations

import hashlib
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Literal

from PIL import Image

from sapiens_bench.errors import PathEscape, SampleFault, raise_if_machine
from sapiens_bench.pixels.files import open_regular, shown
from sapiens_bench.pixels.paths import safe_join

# "unstated": nobody said whether an EXIF orientation counts; a picture that has one is read only where the size of
# its truth decides the question, and is an error row otherwise.
ExifPolicy = Literal["ignore", "apply", "unstated"]
Size = tuple[int, int]  # width, height

MAX_PIXELS = 100_000_000
# Formats a data set may use. EPS and the like are left out on purpose: Pillow starts Ghostscript for them.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "MPO", "JPEG2000", "AVIF")
_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
LARGE_PIXELS = 25_000_000  # larger pictures are decoded one at a time, whatever the number of threads
BOMB_RATIO = 500  # colour bytes / file bytes of a large photograph; real ones stay below 50, blank ones below 250
LARGE_FILE = 1 << 26  # larger files are held against their header before they are read
_BYTES_PER_PIXEL = {"TIFF": 16, "BMP": 4, "PPM": 6}  # at most, in a file; 6 for all that compress
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 274  # the tag, in EXIF and in TIFF
_one_large = threading.Lock()


class OrientationUnstated(SampleFault):
    """Code ``image.exif_policy``: to state whether the orientation counts mends it; ``detail`` says where."""

    def __init__(self, detail: str) -> None:
        super().__init__("image.exif_policy", detail)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture whose header has been read and whose pixels have not."""

    name: str
    data: bytes
    image: Image.Image  # not loaded
    orientation: int  # EXIF, or a TIFF's own tag, 1 to 8
    stored: Size  # width and height as stored

    def size(self, exif: ExifPolicy) -> Size:
        """Width and height under a policy."""
        return self.stored[::-1] if exif == "apply" and self.orientation >= 5 else self.stored

    def settled(self, exif: ExifPolicy, expected: Size | None) -> ExifPolicy:
        """The policy for this picture: "unstated" becomes one of the others where the expected size decides.

        Raises:
            SampleFault: ``image.size``, ``image.exif_policy``.
        """
        if exif == "unstated":
            exif = self._decided(expected)
        found = self.size(exif)
        if expected is None or found == tuple(expected):
            return exif
        sizes = f"{self.name}: picture is {found[0]}x{found[1]}, annotation says {expected[0]}x{expected[1]}"
        if found[::-1] != tuple(expected):
            raise SampleFault("image.size", sizes)
        if self.orientation < 5:
            raise SampleFault("image.exif_policy", f"{sizes}: turned, and no EXIF orientation says so")
        other = "apply" if exif == "ignore" else "ignore"
        raise OrientationUnstated(f"{sizes}; write {_policy(other)}")

    def _decided(self, expected: Size | None) -> ExifPolicy:
        if self.orientation == 1:
            return "ignore"
        if expected is not None and self.stored[0] != self.stored[1] and self.orientation >= 5:
            return "apply" if self.stored == tuple(expected)[::-1] else "ignore"
        raise OrientationUnstated(
            f"{self.name}: EXIF orientation {self.orientation}, and nothing says whether the truth belongs to the "
            f"picture as stored or as viewed; write {_policy('ignore')}, or 'exif: apply'",
        )

    @contextmanager
    def loaded(self, exif: ExifPolicy = "ignore") -> Iterator[Image.Image]:
        """The decoded picture; large ones one at a time, so that memory does not grow with the threads.

        Raises:
            SampleFault: ``image.truncated``, ``image.decode``.
        """
        width, height = self.stored
        with _one_large if width * height > LARGE_PIXELS else nullcontext():
            yield self._load(exif)

    def _load(self, exif: ExifPolicy) -> Image.Image:
        turn = _TRANSPOSE.get(self.orientation) if exif == "apply" else None
        try:
            self.image.load()
            return self.image if turn is None else self.image.transpose(turn)
        except Exception as error:  # decoders of ten formats raise whatever they like; each is one image's fault
            raise_if_machine(error)
            cut = "truncated" in str(error) or isinstance(error, EOFError)
            code = "image.truncated" if cut else "image.decode"
            raise SampleFault(code, f"{self.name}: {_reason(error)}") from None


def open_picture(
    path: Path | str, *, root: Path | None = None, sha256: str | None = None, max_pixels: int = MAX_PIXELS
) -> Picture:
    """Bytes and header of a picture.

    Raises:
        SampleFault: side ``input``; ``image.missing``, ``.path``, ``.sha256``, ``.too_large``, ``.decode``.
    """
    name = shown(path)
    data = _read_bytes(path, root, name, max_pixels)
    if sha256 is not None and (found := hashlib.sha256(data).hexdigest()) != sha256:
        raise SampleFault("image.sha256", f"{name}: sha256 {found}, the manifest says {sha256}")
    data, block = _without_exif(data)
    data, tiff_orientation = _upright_tiff(data)
    image = _open_header(data, name)
    _check_pixels(image.size, max_pixels, name)
    size = (image.size[0], image.size[1])
    if tiff_orientation is not None:
        image.info.pop("xmp", None)  # Pillow turns a TIFF by that, too, and no other format
        return Picture(name, data, image, tiff_orientation, size)
    return Picture(name, data, image, _orientation(block or image.info.get("exif", b"")), size)


def refuse_bomb(picture: Picture) -> None:
    """Raises SampleFault ``image.too_large`` for a large photograph that its few bytes cannot hold.

    For pictures only: label maps and masks of that size may be nearly empty.
    """
    width, height = picture.stored
    if width * height > LARGE_PIXELS and 3 * width * height > BOMB_RATIO * len(picture.data):
        raise SampleFault(
            "image.too_large",
            f"{picture.name}: {width}x{height} pixels from {len(picture.data)} bytes, as in a decompression bomb; "
            f"above {LARGE_PIXELS // 10**6} megapixels a picture may grow {BOMB_RATIO} times",
        )


def locate(path: Path | str, root: Path | None) -> Path:
    """The file to open, links resolved and inside ``root``.

    Raises:
        SampleFault: ``image.path``.
    """
    try:
        if root is None:
            return Path(os.path.realpath(path))
        if not os.path.isabs(path):
            return safe_join(root, str(path))
        return safe_join(root, str(Path(path).relative_to(root)))
    except (PathEscape, ValueError) as error:
        raise_if_machine(error)
        raise SampleFault("image.path", str(error)) from None


def _policy(choice: str) -> str:
    return f"'exif: {choice}' in the data-set card (in frame.json of a plain folder)"


def _read_bytes(path: Path | str, root: Path | None, name: str, max_pixels: int) -> bytes:
    try:
        with open_regular(locate(path, root)) as file:
            n_bytes = os.fstat(file.fileno()).st_size
            if n_bytes > LARGE_FILE:
                _check_file(file, n_bytes, max_pixels, name)
            return file.read()
    except (OSError, ValueError) as error:
        raise_if_machine(error)
        reason = getattr(error, "strerror", None) or str(error)
        raise SampleFault("image.missing", f"{name}: {reason}{_beside(path, root)}") from None


def _beside(path: Path | str, root: Path | None) -> str:
    """A file of the same name with another ending, where one is not there. The folder is not listed, it may be huge."""
    wanted = Path(path) if root is None else root / path
    endings = [ending for each in _ENDINGS for ending in (each, each.upper())]
    try:
        others = [] if os.path.lexists(wanted) else [wanted.with_suffix(ending) for ending in endings]
        found = next((other for other in others if other.exists()), None)
    except (OSError, ValueError):
        return ""
    return "" if found is None else f" ({shown(found.name)} is there)"


def _check_file(file: IO[bytes], n_bytes: int, max_pixels: int, name: str) -> None:
    """Refuse a large file that its own header does not explain, before it is read."""
    if file.read(2) == b"\xff\xd8":
        size, kind = _jpeg_size(file, name), "JPEG"
    else:
        file.seek(0)
        image = _open_header(file, name)
        size, kind = image.size, image.format or ""
    _check_pixels(size, max_pixels, name)
    most = _BYTES_PER_PIXEL.get(kind, 6) * size[0] * size[1] + LARGE_FILE
    if n_bytes > most:
        raise SampleFault("image.too_large", f"{name}: {n_bytes} bytes for {size[0]}x{size[1]} pixels")
    file.seek(0)


def _check_pixels(size: Size, max_pixels: int, name: str) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise SampleFault("image.decode", f"{name}: width {width}, height {height}")
    if width * height > max_pixels:
        raise SampleFault("image.too_large", f"{name}: {width}x{height} is over {max_pixels} pixels (--max-pixels)")


def _jpeg_size(file: IO[bytes], name: str) -> Size:
    """Width and height of a JPEG, from its frame header. Not by Pillow, which reads the EXIF block on the way."""
    while len(head := file.read(4)) == 4 and head[0] == 0xFF:
        marker, length = head[1], int.from_bytes(head[2:], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            _, height, width = struct.unpack(">BHH", file.read(5).ljust(5, b"\0"))
            return (width, height)
        if length < 2:
            break
        file.seek(length - 2, os.SEEK_CUR)
    raise SampleFault("image.decode", f"{name}: broken JPEG header")


def _open_header(source: bytes | IO[bytes], name: str) -> Image.Image:
    """The lazily opened picture: ``Image.open`` without its warning above 89 megapixels.

    That warning can be silenced or raised only through process-wide state, which is not safe in threads; our own limit
    is checked right after.
    """
    start = source[:16] if isinstance(source, bytes) else source.read(16)
    if not start:
        raise SampleFault("image.decode", f"{name}: the file is empty")
    Image.preinit()
    for initialise in (None, Image.init):
        if initialise is not None:
            initialise()
        for wanted in FORMATS:
            factory, accept = Image.OPEN.get(wanted, (None, None))
            if factory is None or (accept is not None and accept(start) is not True):
                continue
            try:
                image: Image.Image = factory(_rewound(source), "")
            except Exception as error:  # not a picture of this format after all, or a broken header
                raise_if_machine(error)
                detail = f"broken {wanted} header ({_reason(error)})"
                raise SampleFault("image.decode", f"{name}: {detail}") from None
            return image
    # The bytes themselves are not quoted: behind a link they may be anybody's.
    raise SampleFault("image.decode", f"{name}: not a picture of a known format{_looks_like(start)}")


def _looks_like(start: bytes) -> str:
    """What the first 16 bytes of a file that is no picture speak for."""
    if start.lstrip()[:1] == b"<":
        return " (it looks like a web page)"
    if start.startswith(b"version https:"):
        return " (it looks like a Git LFS pointer: `git lfs pull` fetches the file)"
    if start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"hevc"):
        return " (it looks like HEIC: convert it to JPEG or PNG)"
    return ""


def _rewound(source: bytes | IO[bytes]) -> IO[bytes]:
    if isinstance(source, bytes):
        return BytesIO(source)
    source.seek(0)
    return source


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


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


def _upright_tiff(data: bytes) -> tuple[bytes, int | None]:
    """A TIFF's bytes with orientation 1, and the orientation that its tag says; other files as they are, and None.

    Pillow turns TIFFs while it decodes them, and gives their size as viewed or as stored, by its version: with the tag
    set to 1 it has nothing to turn.
    """
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or not (0x2A in data[2:4] or 0x2B in data[2:4]):
        return data, None
    # Entries of the first directory: tag, type, count, value; BigTIFF has wider fields.
    start_at, wide, count, entry, value_at = (8, "Q", "Q", 20, 12) if 0x2B in data[2:4] else (4, "I", "H", 12, 8)
    try:
        (start,) = struct.unpack_from(order + wide, data, start_at)
        (n,) = struct.unpack_from(order + count, data, start)
        first = start + struct.calcsize(order + count)
        for at in range(first, min(first + entry * n, len(data)), entry):
            tag, kind = struct.unpack_from(order + "HH", data, at)
            if tag == _ORIENTATION:
                (value,) = struct.unpack_from(order + {1: "B", 4: "I"}.get(kind, "H"), data, at + value_at)
                upright = bytearray(data)
                struct.pack_into(order + "HH" + wide + "HH", upright, at, tag, 3, 1, 1, 0)
                return bytes(upright), value if kind in (1, 3, 4) and 1 <= value <= 8 else 1
    except struct.error:
        pass  # cut off: the decoder says so
    return data, 1


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
            at = start + 2 + 12 * i
            tag, kind = struct.unpack_from(order + "HH", block, at)
            if tag == _ORIENTATION:  # a SHORT; some programs write a LONG, and viewers turn the picture all the same
                (value,) = struct.unpack_from(order + ("I" if kind == 4 else "H"), block, at + 8)
                return value if kind in (3, 4) and 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1
