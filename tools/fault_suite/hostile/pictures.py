"""Pictures: cut, swapped, turned, of every mode, of absurd size, under every kind of name."""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from fault_suite.hostile.place import Call, Found, Place, Wanted
from sapiens_bench.store.rows import read_rows

SIZE = (96, 72)
NAMES = {
    "unicode": "写真 ü😀.jpg", "bidi": "photo\u202egnp.jpg", "space": "two  blanks .jpg", "dash": "-rf.jpg",
    "newline": "a\nb.jpg", "html": "<img src=x onerror=alert(1)>.jpg", "quote": "it's\"`$(id)`.jpg",
    "latex": "a_b%c&d#{e}.jpg", "csv": "=1+cmd|x!A0.jpg",
}  # fmt: skip
_CARD = """\
schema: dataset/1
id: {name}
title: Hostile pictures
licence: {{name: CC0-1.0}}
get: It is made by a test.
adapter: coco_keypoints
exif: {exif}
layout: [{name}.json]
checksums: {checksums}
protocols:
  gt: {{task: pose, title: Given boxes, space: coco17, default: true,
    options: {{annotations: {name}.json, images: pictures, boxes: gt}}}}
"""


def scene() -> Image.Image:
    """A small picture in which a turn would be seen."""
    x, y = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    return Image.fromarray(np.dstack([2 * x, 3 * y, (5 * x + 11 * y) % 256]).astype(np.uint8))


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of a file."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def png(width: int, height: int, rows: int, colours: int = 3) -> bytes:
    """A PNG of zeros that claims a size and holds so many rows of it."""

    def chunk(tag: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))

    press = zlib.compressobj(9)
    line = bytes(1 + colours * width)
    pixels = b"".join(press.compress(line) for _ in range(rows)) + press.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 2 if colours == 3 else 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def make(place: Place) -> None:
    """Write them, one data set of all and one of turned ones."""
    folder = place.root / "pictures"
    folder.mkdir()
    jpeg = encoded(scene(), "JPEG", quality=90)
    listed: list[tuple[str, str, tuple[int, int]]] = []

    def add(name: str, file: str, wanted: Wanted, data: bytes | None, size: tuple[int, int] = SIZE) -> None:
        place.add(f"img_{name}", "image", wanted)
        listed.append((f"img_{name}", file, size))
        if data is not None:
            (folder / file).write_bytes(data)

    add("ok", "ok.jpg", "ok", jpeg)
    broken = {"truncated_half": jpeg[: len(jpeg) // 2], "truncated_tail": jpeg[:-2], "header_only": jpeg[:20],
              "empty": b"", "html": b"<html><body>not found</body></html>"}  # fmt: skip
    for name, data in broken.items():
        add(name, f"{name}.jpg", "row_error", data)
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = turn
        add(f"exif{turn}", f"exif{turn}.jpg", "ok", encoded(scene(), "JPEG", exif=exif))
    garbage = b"Exif\0\0II*\0" + struct.pack("<I", 0x7FFFFFF0)
    add("exif_garbage", "exif_garbage.jpg", "ok", encoded(scene(), "JPEG", exif=garbage))
    grey = (np.arange(SIZE[0] * SIZE[1], dtype=np.uint32) * 9 % 65536).astype(np.uint16).reshape(SIZE[1], SIZE[0])
    add("gray16", "gray16.png", "ok", encoded(Image.fromarray(grey), "PNG"))
    for mode, file in {"L": "l.jpg", "CMYK": "cmyk.jpg", "P": "p.png", "1": "one.png", "LA": "la.png"}.items():
        add(f"mode_{mode}", file, "ok", encoded(scene().convert(mode), "JPEG" if file.endswith("jpg") else "PNG"))
    clear = scene().convert("RGBA")
    clear.putalpha(0)
    add("rgba_clear", "clear.png", "ok", encoded(clear, "PNG"))
    add("gif", "two.gif", "ok", encoded(scene(), "GIF", save_all=True, append_images=[scene().rotate(90)]))
    add("wrong_ext", "really_png.jpg", "ok", encoded(scene(), "PNG"))
    add("1px", "1px.png", "ok", png(1, 1, 1), (1, 1))
    add("sliver", "sliver.png", "ok", png(4000, 1, 1), (4000, 1))
    add("zero_width", "zero.png", "row_error", png(0, 10, 1))
    add("bomb_header", "claims.png", "row_error", png(65000, 65000, 1, 1))
    add("bomb_200mp", "bomb.png", "row_error", png(14500, 14500, 14500, 1))
    for name, file in NAMES.items():
        add(f"name_{name}", file, "ok", jpeg)
    add("missing", "missing.jpg", "row_error", None)
    add("is_directory", "folder.jpg", "row_error", None)
    (folder / "folder.jpg").mkdir()
    add("symlink_out", "link.jpg", "row_error", None)
    os.symlink(place.outside / "secret.jpg", folder / "link.jpg")
    write_set(place, "hostile", listed, "ignore")
    turned = [(f"img_exif{t}", f"exif{t}.jpg", SIZE if t < 5 else SIZE[::-1]) for t in range(1, 9)]
    write_set(place, "turned", turned, "apply")
    _pinned(place, jpeg)


def _pinned(place: Place, jpeg: bytes) -> None:
    """Pictures that only a hash gives away: the card pins it, and the data set is then refused."""
    flipped = bytearray(jpeg)
    for k in range(len(jpeg) // 2, len(jpeg) // 2 + 6):
        flipped[k] ^= 0x55
    whole, short = png(*SIZE, SIZE[1]), png(*SIZE, 1)
    for name, (wanted, found) in {"bitflip": (jpeg, bytes(flipped)), "wrong_sha": (jpeg, jpeg + b" "),
                                  "png_short": (whole, short)}.items():  # fmt: skip
        (place.root / "pictures" / f"pinned_{name}.jpg").write_bytes(found)
        why = "what a card pins is checked before the run: the data set is refused, not the one picture"
        place.add(f"img_{name}", "pinned image", "reject_dataset", why)
        pins = {f"pictures/pinned_{name}.jpg": hashlib.sha256(wanted).hexdigest()}
        write_set(place, f"pinned-{name}", [(f"img_{name}", f"pinned_{name}.jpg", SIZE)], "ignore", pins)


def write_set(
    place: Place,
    name: str,
    listed: list[tuple[str, str, tuple[int, int]]],
    exif: str,
    checksums: dict[str, str] | None = None,
) -> None:
    """A data set of these pictures (case, file, declared size), a person on each, and its card."""
    images, people = [], []
    for number, (_, file, (width, height)) in enumerate(listed, 1):
        images.append({"id": number, "width": width, "height": height, "file_name": file})
        if min(width, height) < 2:
            continue  # no box of a person fits in
        points = [v for k in range(17) for v in (width * (k % 5) / 5, height * (k // 5) / 5, 2)]
        people.append({"id": number, "image_id": number, "category_id": 1, "iscrowd": 0, "area": width * height / 2,
                       "bbox": [0, 0, width, height], "num_keypoints": 17, "keypoints": points})  # fmt: skip
    document = {"images": images, "annotations": people, "categories": [{"id": 1, "name": "person"}]}
    (place.root / f"{name}.json").write_text(json.dumps(document))
    cards = place.root / "picture_cards"
    cards.mkdir(exist_ok=True)
    (cards / f"{name}.yaml").write_text(_CARD.format(name=name, exif=exif, checksums=json.dumps(checksums or {})))


def judge(place: Place) -> dict[str, Found]:
    """Run a network on them."""
    found = dict(zip((case.id for case in place.of("image")), _run(place, "hostile"), strict=True))
    for turn, outcome in enumerate(_run(place, "turned"), 1):
        if outcome.got != "ok":
            found[f"img_exif{turn}"] = outcome
    for case in place.of("pinned image"):
        name = case.id.replace("img_", "pinned-")
        call = run_on(place, name, place.root / "picture_cards")
        refused = call.code == 5 and not (place.root / "runs" / name / "run.json").exists()
        file = case.id.replace("img_", "pinned_")
        found[case.id] = Found("reject_dataset" if refused else f"exit {call.code}", file in call.err, call.err)
    return found


def run_on(place: Place, name: str, cards: Path) -> Call:
    """A network on a data set whose card lies in ``cards``; the run folder is ``runs/NAME``."""
    return place.call(
        "run", "--task", "pose", "--models", "movenet-lightning", "--dataset", name, "--cards", cards,
        "--data-root", place.root, "--out", place.root / "runs" / name, "--n-boot", 0, "--device", "cpu",
        "--max-errors", 1, "--workers", 2, "--threads", 2,
    )  # fmt: skip


def _run(place: Place, name: str) -> list[Found]:
    run_on(place, name, place.root / "picture_cards")
    return outcomes(place.root / "runs" / name)


def outcomes(out: Path) -> list[Found]:
    """What came of each sample, in the order of the data set."""
    (cell,) = (folder for folder in (out / "rows").glob("*/*/*/*") if folder.is_dir())
    rows = read_rows(cell)
    columns = (rows[name].to_pylist() for name in ("status", "error_code", "error_side", "error_detail"))
    return [
        Found("ok" if status == "ok" else "row_error", status == "ok" or bool(code and side), f"{code}: {detail}")
        for status, code, side, detail in zip(*columns, strict=True)
    ]
