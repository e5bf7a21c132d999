"""Where cards come from: the package itself, installed plug-ins, and folders a user names with --cards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from sapiens_bench.cards.schema import Card, DatasetCard, ModelCard
from sapiens_bench.errors import CardError, UsageError

ENTRY_POINTS = "sapiens_bench.cards"  # each names a package whose folder holds *.yaml cards
_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class CardFolders:
    """The package's own card folders."""

    baselines: Path
    datasets: Path
    spaces: Path
    maps: Path
    published: Path


@dataclass(frozen=True)
class OutsideCards:
    """Card files that do not belong to the package."""

    files: tuple[tuple[Path, bool], ...]  # (file, may it name code beside it?)
    broken: dict[str, str] = field(default_factory=dict)  # plug-in -> why it has no cards


def package_folders(package: Path = _PACKAGE) -> CardFolders:
    """Folders inside the wheel (``_cards``) or, in an editable install, beside the package in the source tree.

    Raises:
        CardError: neither exists, so the installation is damaged.
    """
    inside, root = package / "_cards", package.parent
    if inside.is_dir():
        baselines, datasets, published = inside / "baselines", inside / "datasets", inside / "published"
    else:
        baselines, datasets, published = root / "baselines", root / "datasets", root / "results" / "published"
    folders = CardFolders(baselines, datasets, datasets / "spaces", datasets / "spaces" / "maps", published)
    for folder in (baselines, datasets, folders.spaces, folders.maps, published):
        if not folder.is_dir():
            raise CardError(f"The installation is incomplete: {folder} not found. Install the package again.")
    return folders


def card_files(folder: Path, pattern: str = "*.yaml") -> list[Path]:
    """Card files of a folder in a fixed order; the ending may be ``.yml`` as well."""
    endings = (pattern, pattern.removesuffix(".yaml") + ".yml")
    return sorted(path for each in endings for path in folder.glob(each) if path.is_file())


def outside_cards(extra: Sequence[Path]) -> OutsideCards:
    """Cards of plug-ins (entry point group ``sapiens_bench.cards``) and of the given folders or files.

    Raises:
        UsageError: a given path does not exist.
    """
    files: list[tuple[Path, bool]] = []
    broken: dict[str, str] = {}
    for point in entry_points(group=ENTRY_POINTS):
        name = f"plug-in {point.name}"
        try:
            spec = find_spec(point.value)
        except (Exception, SystemExit) as error:  # the plug-in's parent package runs here; `list` must survive it
            broken[name] = f"{point.value} cannot be found: {type(error).__name__}: {error}"
            continue
        places = list(spec.submodule_search_locations or ()) if spec else []
        if not places:
            broken[name] = f"{point.value} is not a package with card files; install the plug-in again."
        files += [(path, False) for place in places for path in card_files(Path(place), "**/*.yaml")]
    for given in extra:
        if given.is_dir():
            files += [(path, True) for path in card_files(given, "**/*.yaml")]
        elif given.is_file():
            files.append((given, True))
        else:
            raise UsageError(f"--cards {given}: no such folder or file.")
    return OutsideCards(tuple(dict.fromkeys(files)), broken)


def check_code(card: Card, path: Path, allowed: bool) -> None:
    """Refuse a card that names code it may not name.

    Raises:
        CardError: ``./file.py:Class`` in a card that was not named by the user, in another form, or without the file.
    """
    key = "wrapper" if isinstance(card, ModelCard) else "adapter" if isinstance(card, DatasetCard) else ""
    value = str(getattr(card, key)) if key else ""
    if not value.startswith((".", "/")) and ".py" not in value:
        return
    file, _, name = value.partition(":")
    parts = file.split("/")
    if len(parts) != 2 or parts[0] != "." or not file.endswith(".py") or not name.isidentifier() or "\\" in file:
        raise CardError(f"{path}, key {key!r}: {value!r:.80} must have the form ./file.py:Class, beside the card.")
    if not allowed:
        raise CardError(f"{path}, key {key!r}: code beside a card runs only from a folder given with --cards.")
    if not (path.parent / file).resolve().is_relative_to(path.parent.resolve()) or not (path.parent / file).is_file():
        raise CardError(f"{path}, key {key!r}: {file} is not a file beside the card.")
