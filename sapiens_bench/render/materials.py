"""Which colours a mesh has: material libraries (MTL), the textures they name, and what stands in when they do not.

Names in libraries are looked up beside the mesh (``render.files`` has the rule). Of a diffuse map (``map_Kd``) every
option that changes colours is applied: ``-s`` and ``-o`` (texture coordinates times scale plus offset, as three.js
``MTLLoader`` has them), ``-clamp``, ``-mm``; ``-t`` (turbulence) is refused; filters (``-blendu``, ``-blendv``,
``-boost``, ``-texres``), ``-cc`` and options of other kinds of maps (``-bm``, ``-imfchan``, ``-type``) change none.

Source: Wavefront "Object Files" and "MTL material format" specifications, version 4.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sapiens_bench.errors import SampleFault
from sapiens_bench.render.files import listing, named_file, read_plain
from sapiens_bench.render.mesh import IMAGE_SUFFIXES, MeshData

MAX_LIBRARY_BYTES = 1 << 24
_NUMBERS = {"-s": 3, "-o": 3, "-t": 3, "-mm": 2, "-bm": 1, "-boost": 1, "-texres": 1}  # at most
_WORDS = frozenset({"-blendu", "-blendv", "-cc", "-clamp", "-imfchan", "-type"})
_FALLBACK = "material0.jpeg"


@dataclass(frozen=True, slots=True)
class Map:
    """How a texture lies on the faces of a material."""

    image: Path
    scale: tuple[float, float] = (1.0, 1.0)  # of u and v
    offset: tuple[float, float] = (0.0, 0.0)
    clamps: bool = False  # the texture does not repeat
    base: float = 0.0  # colour = base + gain * stored, both of 1
    gain: float = 1.0


@dataclass(frozen=True, slots=True)
class Coat:
    """What one material looks like: a texture, else one colour."""

    map: Map | None = None
    colour: tuple[float, float, float] | None = None  # Kd, 0..1


@dataclass(frozen=True, slots=True)
class Coats:
    """What the faces of a mesh look like. Without any coat, vertices carry the colours."""

    coats: tuple[Coat, ...]
    of_material: tuple[int, ...]  # coat of each entry of ``mesh.materials``; one more for faces before any usemtl
    doubt: str = ""  # what stands in for a texture that is named and not there


@dataclass(slots=True)
class _Material:
    colour: tuple[float, float, float] | None = None
    statement: str = ""  # of map_Kd
    library: Path | None = None


def find_coats(mesh: MeshData) -> Coats:
    """The colours of a mesh that was read from a file.

    Each material in use has its own; faces whose material says nothing take the only texture there is. Where no
    material in use has a texture: ``material0.jpeg``, else the only image of the folder, else colours of vertices.

    Raises:
        SampleFault: mesh.texture; no colours at all, a texture or material that is missing among several, an option
            that cannot be applied.
    """
    if mesh.path is None:
        raise SampleFault("mesh.texture", "this mesh was not read from a file, so it has no texture image")
    if mesh.uv_T2 is None:
        return _without_uv(mesh)
    library = _libraries(mesh)
    lonely = _only_texture(mesh, library)
    chosen: dict[int, Coat | None] = {}
    used = [-1] if mesh.face_material_F is None else np.unique(mesh.face_material_F).tolist()
    for m in used:
        material = _lookup(library, mesh.materials[m]) if m >= 0 else None
        chosen[m] = _coat(mesh, material) or (None if material is not None and material.statement else lonely)
    if not any(coat and coat.map for coat in chosen.values()):
        return _fallback(mesh, library)
    for m, coat in chosen.items():
        if coat is None:
            raise SampleFault("mesh.texture", _missing(mesh, library, m))
    coats = tuple(dict.fromkeys(coat for coat in chosen.values() if coat))
    index = {m: coats.index(coat) for m, coat in chosen.items() if coat}
    return Coats(coats, tuple(index.get(m, -1) for m in (*range(len(mesh.materials)), -1)))


def _without_uv(mesh: MeshData) -> Coats:
    if mesh.colours_V3 is None:
        raise SampleFault(
            "mesh.texture",
            f"{mesh.path} has neither texture coordinates (vt) nor a colour on every vertex, so it has no colours.",
        )
    return Coats((), ())


def _fallback(mesh: MeshData, library: dict[str, _Material]) -> Coats:
    """One texture for everything, though no material names it."""
    assert mesh.path is not None
    folder = mesh.path.parent
    images = [f for f in listing(folder) if f.suffix.lower() in IMAGE_SUFFIXES and f.is_file()]
    image = named_file(folder, _FALLBACK) or (images[0] if len(images) == 1 else None)
    named = sorted({m.statement for m in library.values() if m.statement})
    doubt = f"map_Kd names {', '.join(map(repr, named[:3]))}, which is not there; drawn with " if named else ""
    if image is not None:
        return Coats((Coat(Map(image)),), (0,) * (len(mesh.materials) + 1), doubt and doubt + image.name)
    if mesh.colours_V3 is not None:
        return Coats((), (), doubt and doubt + "the colours of its vertices")
    why = (
        f"map_Kd names {', '.join(map(repr, named[:3]))}, which is not there" if named else _why_unnamed(mesh, library)
    )
    choice = f"; {len(images)} images lie beside it" if images else ""
    raise SampleFault("mesh.texture", f"{mesh.path} has no texture: {why}{choice}. Put the image beside the mesh.")


def _why_unnamed(mesh: MeshData, library: dict[str, _Material]) -> str:
    if library or not mesh.libraries:
        return "no map_Kd names one" if mesh.libraries else "the mesh names no material library (mtllib)"
    return f"its material library {mesh.libraries[0]!r} is not there"


def _missing(mesh: MeshData, library: dict[str, _Material], m: int) -> str:
    """Why a material of several has no colours."""
    if m < 0:
        return f"{mesh.path}: faces before the first usemtl have no material, and there are several textures."
    name = mesh.materials[m]
    material = _lookup(library, name)
    if material is None:
        return f"{mesh.path}: material {name!r} is in no library (mtllib {', '.join(mesh.libraries) or 'missing'})."
    if material.statement:
        return f"{mesh.path}: material {name!r} names the texture {material.statement!r}, which is not beside it."
    return f"{mesh.path}: material {name!r} has neither map_Kd nor Kd, and there are several textures."


def _only_texture(mesh: MeshData, library: dict[str, _Material]) -> Coat | None:
    """The texture, when all libraries together have one: then it is meant for materials that say nothing as well."""
    coats = {coat for material in library.values() if (coat := _coat(mesh, material)) and coat.map}
    return next(iter(coats)) if len(coats) == 1 else None


def _coat(mesh: MeshData, material: _Material | None) -> Coat | None:
    """None when the material says nothing, or names a texture that is not there."""
    if material is None:
        return None
    if not material.statement:
        return None if material.colour is None else Coat(colour=material.colour)
    found = _map(mesh, material)
    return None if found is None else Coat(found)


# Libraries -----------------------------------------------------------------------------------------------------------


def _lookup(library: dict[str, _Material], name: str) -> _Material | None:
    if name in library:
        return library[name]
    return next((m for other, m in library.items() if other.casefold() == name.casefold()), None)


def _libraries(mesh: MeshData) -> dict[str, _Material]:
    """Materials by name; of several with one name the first."""
    assert mesh.path is not None
    found: dict[str, _Material] = {}
    for statement in mesh.libraries:
        for path in library_files(mesh.path.parent, statement):
            for name, material in read_library(path).items():
                found.setdefault(name, material)
    return found


def library_files(folder: Path, statement: str) -> list[Path]:
    """The files of one mtllib statement: a name that may hold spaces, else several names."""
    whole = _unquoted(statement)
    if file := named_file(folder, whole):
        return [file]
    return [file for word in statement.split() if (file := named_file(folder, _unquoted(word)))]


def read_library(path: Path) -> dict[str, _Material]:
    """The materials of an MTL file, in its order."""
    data = read_plain(path, "mesh.texture", MAX_LIBRARY_BYTES)
    text = data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    found: dict[str, _Material] = {}
    current = _Material()
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        word, *rest = line.split(None, 1) or [""]
        value = rest[0].strip() if rest else ""
        if word.lower() == "newmtl":
            current = found.setdefault(value, _Material(library=path))
        elif word.lower() == "map_kd" and value:
            current.statement = value
        elif word.lower() == "kd":
            current.colour = _colour(value) or current.colour
    return found


def _colour(text: str) -> tuple[float, float, float] | None:
    """``r g b`` or one number for all three; spectral files and XYZ are not read."""
    values = [_number(word) for word in text.split()]
    numbers = [value for value in values if value is not None and 0 <= value <= 1]
    if len(numbers) != len(values) or len(values) not in (1, 3):
        return None
    return (numbers[0], numbers[0], numbers[0]) if len(values) == 1 else (numbers[0], numbers[1], numbers[2])


# Maps ----------------------------------------------------------------------------------------------------------------


def _map(mesh: MeshData, material: _Material) -> Map | None:
    """The map of a statement; None when no file is found."""
    assert mesh.path is not None
    folders = [mesh.path.parent]
    if material.library is not None and material.library.parent != folders[0]:
        folders.append(material.library.parent)
    for options, name in _readings(material.statement):
        image = next((file for folder in folders if (file := _image(folder, name))), None)
        if image is not None:
            return _with_options(Map(image), options, f"{material.library}: map_Kd {material.statement}")
    return None


def _image(folder: Path, name: str) -> Path | None:
    """The image of a name: as written, without quotes or trailing comment, or with another ending (.jpg for .jpeg)."""
    for text in dict.fromkeys((name, _unquoted(name), name.partition(" #")[0].strip())):
        if file := named_file(folder, text):
            return file
    stem = Path(_unquoted(name).replace("\\", "/")).stem.casefold()
    same = [f for f in listing(folder) if f.stem.casefold() == stem and f.suffix.lower() in IMAGE_SUFFIXES]
    return same[0] if len(same) == 1 and same[0].is_file() else None


def _readings(statement: str) -> list[tuple[list[tuple[str, list[str]]], str]]:
    """Ways to split a statement into options and a file name, the likeliest first.

    Numbers behind an option belong to it as far as it takes them; but ``-s 2 2 3 skin.png`` may also mean
    ``3 skin.png``, so names with numbers given back follow.
    """
    words = statement.split()
    options: list[tuple[str, list[str]]] = []
    at = 0
    while at < len(words) - 1 and (words[at] in _NUMBERS or words[at] in _WORDS):
        option, taken = words[at], []
        at += 1
        if option in _WORDS:
            taken = words[at : at + 1]
            at += len(taken)
        while option in _NUMBERS and len(taken) < _NUMBERS[option] and at < len(words) - 1 and _is_number(words[at]):
            taken.append(words[at])
            at += 1
        options.append((option, taken))
    if not options:
        return [([], statement)]
    readings = [(options, _rest(statement, at))]
    last, numbers = options[-1]
    if last in _NUMBERS:
        back = range(1, len(numbers))
        readings += [([*options[:-1], (last, numbers[:-n])], _rest(statement, at - n)) for n in back]
    return [*readings, ([], statement)]


def _rest(statement: str, n_words: int) -> str:
    """What follows the first words, its inner spaces kept."""
    return statement.split(None, n_words)[n_words] if n_words < len(statement.split()) else ""


def _with_options(plain: Map, options: list[tuple[str, list[str]]], where: str) -> Map:
    found = plain
    for option, words in options:
        values = [float(word) for word in words] if option in _NUMBERS else []
        if option in ("-s", "-o"):
            one = 1.0 if option == "-s" else 0.0
            u, v = (*values, one, one)[:2] if values else (one, one)
            found = replace(found, scale=(u, v)) if option == "-s" else replace(found, offset=(u, v))
        elif option == "-mm" and len(values) == 2:
            found = replace(found, base=values[0], gain=values[1])
        elif option == "-clamp":
            found = replace(found, clamps=words[0].lower() == "on")
        elif option == "-t" and any(values):
            raise SampleFault("mesh.texture", f"{where}: turbulence (-t) cannot be drawn; remove it.")
    return found


def _number(word: str) -> float | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _is_number(word: str) -> bool:
    return _number(word) is not None


def _unquoted(text: str) -> str:
    return text[1:-1].strip() if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
