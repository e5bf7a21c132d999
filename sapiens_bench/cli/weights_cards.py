"""``sapiens-bench weights``: which weight files there are, and fetching one after its licence was accepted."""

from __future__ import annotations

import os
import shlex
import shutil
import uuid
from collections.abc import Sequence
from http.client import HTTPMessage
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.error import URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from sapiens_bench.cards.catalog import Catalog, ModelEntry
from sapiens_bench.cards.locate import file_sha256, weight_files, weights_cache
from sapiens_bench.cards.schema import HubFile, Weights
from sapiens_bench.cli import listing
from sapiens_bench.cli.output import grid, say
from sapiens_bench.errors import ChecksumMismatch, SecurityRefusal, StorageFull, UnknownName, UsageError, WeightsMissing
from sapiens_bench.report.numbers import size


def show_list(*, task: str | None, cards: Sequence[Path], weights_root: Path | None) -> None:
    """Every variant that has weights."""
    catalog = Catalog.load(cards)
    known = {entry.card.task for entry in catalog.models.values()}
    if task is not None and task not in known:
        raise UnknownName("task", task, known)
    rows = []
    for row in listing.models(catalog, task, weights_root):
        weights = catalog.models[row["id"]].variant.weights
        if weights is not None:
            pinned = "yes" if weights.sha256 else "no"
            rows.append((row["id"], row["task"], row["status"], size(row["size_bytes"]), pinned, row["licence"]))
    grid(("Model", "Task", "Weights", "Size", "Pinned", "Licence"), rows, right=(3,))
    say("`sapiens-bench weights show NAME` tells how to get one; `weights get NAME` fetches it.")


def show(name: str, *, cards: Sequence[Path], weights_root: Path | None) -> None:
    """File, format, hash, licence and how to obtain them."""
    entry = Catalog.load(cards).model(name)
    weights = entry.variant.weights
    say(f"{entry.variant.title} ({entry.id})", "bold")
    say(f"Licence:  {_licence(entry)}")
    if weights is None:
        say("Weights:  none needed")
        return
    say(f"File:     {weights.file} ({weights.format}{', ' + size(weights.size_bytes) if weights.size_bytes else ''})")
    for extra in weights.also:
        say(f"Also:     {extra}")
    say(f"sha256:   {weights.sha256 or 'not pinned: the publisher gives none that is known to us'}")
    say(f"Get it:   {' '.join(weights.get.how.split())}")
    try:
        say(f"Here:     {weight_files(entry.variant, weights_root).path}")
    except WeightsMissing:
        say("Here:     no")


def get(name: str, *, cards: Sequence[Path], accept_licence: str) -> None:
    """Fetch the files of one variant into the cache: https only, checked by size and sha256, put in place by rename.

    Raises:
        UsageError: the licence was not accepted, downloads are switched off, or there is no address to fetch from.
        WeightsMissing: the server does not give the file.
        ChecksumMismatch: the bytes are not those that the card pins; they are deleted.
    """
    entry = Catalog.load(cards).model(name)
    weights = entry.variant.weights
    if weights is None:
        say(f"{entry.id} needs no weights.")
        return
    try:
        found = weight_files(entry.variant)
        say(f"{entry.id} is here already: {found.path}")
        return
    except WeightsMissing:
        pass
    _check_allowed(entry, weights, accept_licence)
    folder = weights_cache()
    part = folder / f".part-{uuid.uuid4().hex}"
    try:
        part.mkdir(parents=True)
        _fetch(entry, weights, part)
        final = folder / weights.file
        final.parent.mkdir(parents=True, exist_ok=True)
        for extra in weights.also:
            if (part / extra).is_file():
                os.replace(part / extra, final.parent / extra)
        os.replace(part / PurePosixPath(weights.file).name, final)
    except OSError as error:
        raise StorageFull(f"{folder} could not be written: {error.strerror or error}.") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    here = weight_files(entry.variant)
    pinned = "as the card pins it" if here.pinned else "not pinned: keep this hash"
    say(f"{here.path}\nsha256 {here.sha256} ({pinned})")


def _licence(entry: ModelEntry) -> str:
    licence = entry.card.licence
    commercial = {True: "commercial use allowed", False: "no commercial use", None: "commercial use: not stated"}
    return "; ".join(p for p in (licence.name, licence.url, commercial[licence.commercial], licence.note) if p)


def _check_allowed(entry: ModelEntry, weights: Weights, accept_licence: str) -> None:
    how = " ".join(weights.get.how.split())
    if weights.get.hub is None and weights.get.url is None:
        raise UsageError(f"{entry.id} cannot be fetched by a program: {how}")
    licence = entry.card.licence.name
    if accept_licence.casefold() != licence.casefold():
        raise UsageError(
            f"The licence of {entry.variant.title} is {_licence(entry)}. "
            f"Read it, then run `sapiens-bench weights get {entry.id} --accept-licence {shlex.quote(licence)}`."
        )
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise UsageError(f"HF_HUB_OFFLINE is set, so nothing is fetched. Unset it, or by hand: {how}")


def _fetch(entry: ModelEntry, weights: Weights, part: Path) -> None:
    """Bring the file (or folder) and what belongs to it into ``part`` under their own names, and check them."""
    target = part / PurePosixPath(weights.file).name
    if weights.get.hub is not None:
        _from_hub(entry, weights.get.hub, target)
        for extra in weights.also:
            if weights.format != "hf":
                _from_hub(entry, HubFile(repo=weights.get.hub.repo, file=extra, revision=weights.get.hub.revision),
                          part / extra)  # fmt: skip
    elif weights.get.url is not None:
        _from_url(entry, weights.get.url, target)
    if target.is_file() and weights.size_bytes is not None and target.stat().st_size != weights.size_bytes:
        raise WeightsMissing(
            f"{weights.file} came with {target.stat().st_size} bytes, the card expects {weights.size_bytes}. Try again."
        )
    checks = [(target, weights.sha256), *((part / extra, sha) for extra, sha in weights.also.items())]
    for path, expected in checks:
        if expected is not None and path.is_file() and (found := file_sha256(path)) != expected:
            raise ChecksumMismatch(
                f"{path.name} of {entry.id} came with sha256 {found}, the card expects {expected}. It was deleted."
            )


def _from_hub(entry: ModelEntry, hub: HubFile, target: Path) -> None:
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    download = target.parent / f"hub-{target.name}"
    try:
        if hub.file is None:
            snapshot_download(hub.repo, revision=hub.revision, local_dir=download)
            shutil.rmtree(download / ".cache", ignore_errors=True)
            os.replace(download, target)
        else:
            got = hf_hub_download(hub.repo, hub.file, revision=hub.revision, local_dir=download)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(got, target)
    except (HfHubHTTPError, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
            raise
        reason = " ".join(str(error).split())[:200]
        how = " ".join(entry.variant.weights.get.how.split()) if entry.variant.weights else ""
        raise WeightsMissing(f"{hub.repo} did not give {hub.file or 'the model'}: {reason}. {how}") from None


class HttpsOnly(HTTPRedirectHandler):
    """Follows a redirect only to https."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if not newurl.startswith("https://"):
            raise SecurityRefusal(f"{req.full_url} redirects to {newurl}; downloads are https only.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _from_url(entry: ModelEntry, url: str, target: Path) -> None:
    request = Request(url, headers={"User-Agent": "sapiens-bench"})
    try:
        with build_opener(HttpsOnly).open(request, timeout=60) as response, target.open("wb") as file:
            shutil.copyfileobj(response, file, 1 << 20)
    except URLError as error:
        raise WeightsMissing(f"{url} could not be fetched for {entry.id}: {error.reason}.") from None
