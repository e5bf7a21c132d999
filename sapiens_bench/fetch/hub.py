"""Files of the Hugging Face hub, by its own library into its own cache: resumed, locked, shared with other programs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sapiens_bench.cards.folders import hub_cache
from sapiens_bench.cards.hashes import hash_file
from sapiens_bench.cards.hub_cache import FOLDER_FILES
from sapiens_bench.cards.schema import HubFile
from sapiens_bench.errors import ChecksumMismatch, SapiensBenchError, WeightsMissing
from sapiens_bench.fetch import transport
from sapiens_bench.fetch.download import check_room

if TYPE_CHECKING:
    from huggingface_hub import DryRunFileInfo

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Fetched(NamedTuple):
    """What a fetch brought."""

    commit: str  # revision that the files are of
    files: tuple[Path, ...]


def fetch(hub: HubFile, names: tuple[str, ...] | None, *, size: int | None = None, show: bool = False) -> Fetched:
    """Bring files of a repository into the hub's cache; what is there already is not fetched again.

    Args:
        names: files of the repository; None: what a wrapper reads of a model folder.
        size: bytes that the first of ``names`` must have, if known.
        show: progress bars of the hub's client on stderr.

    Raises:
        WeightsMissing: the hub does not give the files (gone, gated, of another size); nothing was fetched.
        SecurityRefusal: an address is not https. ChecksumMismatch: other bytes came than the hub announced.
    """
    with _client(show), _explained(hub):
        plan = _planned(hub, names)
        if size is not None and plan[0].file_size not in (None, size):
            raise WeightsMissing(
                f"{plan[0].filename} of {hub.repo} has {plan[0].file_size:,} bytes, the card expects {size:,}. "
                "Nothing was fetched."
            )
        hub_cache().mkdir(parents=True, exist_ok=True)
        check_room(hub_cache(), sum(info.file_size or 0 for info in plan if info.will_download))
        files = _brought(hub, plan, names)
    for file in files:
        _check_announced(file)
    return Fetched(plan[0].commit_hash, files)


def _planned(hub: HubFile, names: tuple[str, ...] | None) -> list[DryRunFileInfo]:
    """What would be fetched; only asks."""
    from huggingface_hub import hf_hub_download, snapshot_download

    if names is not None:
        return [
            hf_hub_download(hub.repo, name, revision=hub.revision, cache_dir=hub_cache(), dry_run=True)
            for name in names
        ]
    plan = snapshot_download(
        hub.repo, revision=hub.revision, cache_dir=hub_cache(), allow_patterns=list(FOLDER_FILES), dry_run=True
    )
    found = {info.filename for info in plan}
    if "config.json" not in found or not any(name.endswith(".safetensors") for name in found):
        raise WeightsMissing(f"{hub.repo} has no config.json with model.safetensors, which a wrapper needs.")
    return plan


def _brought(hub: HubFile, plan: list[DryRunFileInfo], names: tuple[str, ...] | None) -> tuple[Path, ...]:
    from huggingface_hub import hf_hub_download, snapshot_download

    if names is not None:
        return tuple(
            Path(hf_hub_download(hub.repo, name, revision=hub.revision, cache_dir=hub_cache())) for name in names
        )
    folder = snapshot_download(
        hub.repo, revision=hub.revision, cache_dir=hub_cache(), allow_patterns=list(FOLDER_FILES)
    )
    return tuple(Path(folder) / info.filename for info in plan)


def drop(file: Path) -> None:
    """Remove a file, and what it links to, from the hub's cache."""
    blob = file.resolve()
    file.unlink(missing_ok=True)
    if blob.is_relative_to(hub_cache().resolve()):
        blob.unlink(missing_ok=True)


def _check_announced(file: Path) -> None:
    """The cache names large files by the sha256 that the hub announced."""
    announced = file.resolve().name
    if _SHA256.fullmatch(announced) and (sha256 := hash_file(file, fresh=True).sha256) != announced:
        drop(file)
        raise ChecksumMismatch(f"{file.name} came with sha256 {sha256}, the hub announced {announced}. It was deleted.")


@contextmanager
def _client(show: bool) -> Iterator[None]:
    """The hub's library with our client and, unless a person watches, without its progress bars."""
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    transport.check_online()
    set_client_factory(transport.client)
    silent = not show and not are_progress_bars_disabled()
    if silent:
        disable_progress_bars()
    try:
        yield
    finally:
        if silent:
            enable_progress_bars()


@contextmanager
def _explained(hub: HubFile) -> Iterator[None]:
    """What the hub's library raises, as an error of ours."""
    import httpx2
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError

    try:
        yield
    except SapiensBenchError:
        raise
    except GatedRepoError:
        raise WeightsMissing(
            f"{hub.repo} is gated: agree to its terms on its page on the hub, sign in with `hf auth login`, try again."
        ) from None
    except (HfHubHTTPError, httpx2.HTTPError, ValueError, OSError) as error:
        no_answer = isinstance(error, HfHubHTTPError | httpx2.HTTPError | ValueError | ConnectionError)
        if not no_answer and isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the hub
        reason = " ".join(str(error).split())[:300]
        raise WeightsMissing(f"{hub.repo} (revision {hub.revision}) could not be fetched: {reason}") from None
