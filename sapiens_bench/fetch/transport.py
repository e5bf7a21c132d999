"""The one HTTP client: https in every hop, and offline where the user said so."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2

from sapiens_bench.errors import SecurityRefusal, UsageError

_TIMEOUT = httpx2.Timeout(60.0, connect=30.0)
_transport: httpx2.BaseTransport | None = None  # set by tests alone, see ``answered_by``


def client() -> httpx2.Client:
    """A client that follows redirects, each of them to https only. Close it after use."""
    return httpx2.Client(
        transport=_transport,
        follow_redirects=True,
        max_redirects=10,
        timeout=_TIMEOUT,
        event_hooks={"request": [_check]},
        headers={"User-Agent": "sapiens-bench"},
    )


def _check(request: httpx2.Request) -> None:
    """Runs before every request, those after a redirect included."""
    check_online()
    if request.url.scheme != "https":
        raise SecurityRefusal(f"{request.url} is not https. Downloads are https only, redirects included.")


def check_online() -> None:
    """Raise UsageError where ``HF_HUB_OFFLINE`` says that nothing may be fetched."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise UsageError("HF_HUB_OFFLINE is set, so nothing is fetched. Unset it first.")


@contextmanager
def answered_by(transport: httpx2.BaseTransport) -> Iterator[None]:
    """Test hook: every request goes to ``transport`` instead of the network. ``testing.hub`` is its one caller."""
    global _transport
    before, _transport = _transport, transport
    try:
        yield
    finally:
        _transport = before
