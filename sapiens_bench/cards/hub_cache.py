"""What the Hugging Face cache of this machine holds. Asks that library, never the network."""

from __future__ import annotations

from pathlib import Path

from sapiens_bench.cards.folders import hub_cache
from sapiens_bench.cards.schema import HubFile

# What a wrapper reads of a model folder; nothing else of a repository is fetched or asked for.
FOLDER_FILES = ("config.json", "model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors")


def repository(hub: HubFile) -> Path:
    """Folder of a repository in the cache, there or not; costs no import of the hub's client."""
    from huggingface_hub import constants

    return hub_cache() / constants.REPO_ID_SEPARATOR.join(["models", *hub.repo.split("/")])


def cached(hub: HubFile, name: str | None) -> Path | None:
    """A file of a repository, or (None) its snapshot folder; None where the cache does not have it.

    A branch is looked up by what the cache last saw of it. Of ``main`` without such a note the only revision that is
    there counts, and never one of two.
    """
    if not repository(hub).is_dir():
        return None
    from huggingface_hub import snapshot_download, try_to_load_from_cache
    from huggingface_hub.errors import LocalEntryNotFoundError

    revision = _revision(hub)
    try:
        if name is not None:
            found = try_to_load_from_cache(hub.repo, name, cache_dir=hub_cache(), revision=revision)
            return Path(found) if isinstance(found, str) else None
        folder = snapshot_download(
            hub.repo,
            revision=revision,
            cache_dir=hub_cache(),
            allow_patterns=list(FOLDER_FILES),
            local_files_only=True,
        )
    except (LocalEntryNotFoundError, OSError, ValueError):  # not there, not all of it, or no name the hub could have
        return None
    return Path(folder)


def _revision(hub: HubFile) -> str:
    if hub.revision != "main" or (repository(hub) / "refs" / "main").is_file():
        return hub.revision
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = scan_cache_dir(hub_cache()).repos
    except (CacheNotFound, OSError, ValueError):
        return hub.revision
    commits = [revision.commit_hash for repo in repos if repo.repo_id == hub.repo for revision in repo.revisions]
    return commits[0] if len(commits) == 1 else hub.revision
