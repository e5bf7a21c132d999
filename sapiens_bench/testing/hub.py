"""A stand-in for the hub and for any other https server: proves a card's recipe without the network.

    hub = FakeHub()
    variant = hub.stock(catalog.model("my-model").variant)
    with hub.serving():
        recipe.fetch(variant)

Every request of this package and of the hub's library goes to a server on the loopback address, whatever host it
names; addresses stay https, so the rules about them are tested too. What was asked for stands in ``asked``.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

import httpx2

from sapiens_bench.cards.schema import Variant
from sapiens_bench.fetch import transport

HUB = "https://huggingface.co"
STORE = "https://cas.hub.example"  # large files are redirected there, as the hub does
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Page:
    """What the server answers for one address, and what goes wrong with it."""

    data: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)  # over those of a sound answer; "" leaves one out
    cuts: list[int] = field(default_factory=list)  # each request takes one: the connection ends after so many bytes
    resumable: bool = True  # honours Range
    raw: bytes | None = None  # the whole answer, status line included, where even that is broken

    @property
    def etag(self) -> str:
        """Strong, and another one for other bytes."""
        return f'"{hashlib.sha256(self.data).hexdigest()}"'


class FakeHub:
    """Addresses and what they give."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.asked: list[tuple[str, str, str]] = []  # method, address, Range

    def put(self, url: str, data: bytes = b"", **more: Any) -> Page:
        """``data`` at an https address; ``more`` are fields of ``Page``."""
        page = self.pages[url] = Page(data, **more)
        return page

    def put_model(self, repo: str, files: Mapping[str, bytes], commit: str = COMMIT, branch: str = "main") -> None:
        """A repository of the hub: its listing, and its files under the branch and the commit."""
        listing = [{"type": "file", "path": name, "size": len(data), "oid": _sha1(data), "lfs": _lfs(data)}
                   for name, data in files.items()]  # fmt: skip
        for revision in (branch, commit):
            facts = {"id": repo, "sha": commit, "siblings": [{"rfilename": name} for name in files]}
            self.put(f"{HUB}/api/models/{repo}/revision/{quote(revision, safe='')}", _json(facts), headers=_JSON)
            self.put(f"{HUB}/api/models/{repo}/tree/{quote(revision, safe='')}", _json(listing), headers=_JSON)
            for name, data in files.items():
                self._put_file(f"{HUB}/{repo}/resolve/{quote(revision, safe='')}/{quote(name)}", data, commit)

    def _put_file(self, url: str, data: bytes, commit: str) -> None:
        sha256 = hashlib.sha256(data).hexdigest()
        store = f"{STORE}/{sha256}"
        self.put(store, data)
        linked = {"X-Linked-ETag": f'"{sha256}"', "X-Linked-Size": str(len(data)), "Location": store}
        self.put(url, status=302, headers={"X-Repo-Commit": commit, **linked})

    def stock(self, variant: Variant, data: bytes | None = None) -> Variant:
        """Everything that the variant's ``get`` asks for, as small files; returns the variant with their hashes.

        Args:
            data: bytes of the weight file; None: a text with the variant's id.
        """
        weights = variant.weights
        if weights is None or (weights.get.hub is None and weights.get.url is None):
            raise ValueError(f"{variant.id} has no recipe")
        data = data or f"weights of {variant.id}".encode()
        also = {name: f"{name} of {variant.id}".encode() for name in weights.also}
        if weights.get.hub is not None and weights.format == "hf":
            self.put_model(weights.get.hub.repo, {"config.json": b"{}", "model.safetensors": data, "README.md": b"-"})
            return variant.model_copy(update={"weights": weights.model_copy(update={"size_bytes": None})})
        if weights.get.hub is not None:
            main = weights.get.hub.file or weights.file
            known = {n: p.data for n, p in self._files_of(weights.get.hub.repo)}  # several variants share a repository
            self.put_model(weights.get.hub.repo, {**known, main: data, **also}, branch=weights.get.hub.revision)
        elif weights.get.archive_member is not None:
            self.put(
                str(weights.get.url), _zip({f"sdk/{weights.get.archive_member}": data, **also, "detail.json": b"{}"})
            )
        else:
            self.put(str(weights.get.url), data)
            for name, extra in also.items():
                self.put(urljoin(str(weights.get.url), name), extra)
        pins = {"sha256": _sha256(data), "size_bytes": len(data), "also": {n: _sha256(d) for n, d in also.items()}}
        return variant.model_copy(update={"weights": weights.model_copy(update=pins)})

    def _files_of(self, repo: str) -> Iterator[tuple[str, Page]]:
        for url, page in list(self.pages.items()):
            _, found, rest = url.partition(f"{HUB}/{repo}/resolve/")
            if found:
                yield unquote(rest.partition("/")[2]), self.pages[page.headers["Location"]]

    @contextmanager
    def serving(self) -> Iterator[str]:
        """All requests are answered from here; gives the address of the server, which only this block may use."""
        from huggingface_hub import close_session, constants, set_client_factory

        handler = type("Handler", (_Handler,), {"hub": self})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        origin = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        offline, said = constants.HF_HUB_OFFLINE, os.environ.pop("HF_HUB_OFFLINE", None)
        constants.HF_HUB_OFFLINE = False
        try:
            with transport.answered_by(_Loopback(origin)):
                set_client_factory(transport.client)
                yield origin
        finally:
            constants.HF_HUB_OFFLINE = offline
            if said is not None:
                os.environ["HF_HUB_OFFLINE"] = said
            close_session()
            server.shutdown()
            server.server_close()


class _Loopback(httpx2.BaseTransport):
    """Sends ``https://host/path`` to ``<origin>/host/path``."""

    def __init__(self, origin: str) -> None:
        self._origin, self._inner = httpx2.URL(origin), httpx2.HTTPTransport()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        path = f"/{request.url.host}".encode() + request.url.raw_path
        headers = [(b"Host", b"loopback"), *(h for h in request.headers.raw if h[0].lower() != b"host")]
        request = httpx2.Request(
            request.method,
            self._origin.copy_with(raw_path=path),
            headers=headers,
            stream=request.stream,
            extensions=request.extensions,
        )
        return self._inner.handle_request(request)


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        parts = urlsplit(self.path)
        url = f"https://{parts.path.lstrip('/')}"
        self.hub.asked.append((self.command, url, self.headers.get("Range", "")))
        page = self.hub.pages.get(url) or Page(b"no such page", status=404)
        self.close_connection = True
        if page.raw is not None:
            self.wfile.write(page.raw)
            return
        first = self._first(page)
        body = page.data[first:]
        headers = {"Content-Length": str(len(body)), "ETag": page.etag, "Connection": "close"}
        if first:
            headers["Content-Range"] = f"bytes {first}-{len(page.data) - 1}/{len(page.data)}"
        self.send_response(206 if first else page.status)
        for name, value in {**headers, **page.headers}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if not with_body:
            return
        with suppress(ConnectionError):  # the asker has heard enough
            self.wfile.write(body[: page.cuts.pop(0)] if page.cuts else body)

    def _first(self, page: Page) -> int:
        """First byte that is asked for; 0 unless the asker's part is of this very version."""
        asked = self.headers.get("Range", "").removeprefix("bytes=").partition("-")[0]
        fits = self.headers.get("If-Range", page.etag) == page.headers.get("ETag", page.etag)
        first = int(asked) if asked.isdecimal() and page.resumable and fits else 0
        return first if first < len(page.data) else 0


_JSON = {"Content-Type": "application/json"}


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _sha1(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


def _lfs(data: bytes) -> dict[str, Any]:
    return {"oid": _sha256(data), "size": len(data), "pointerSize": 134}


def _zip(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()
