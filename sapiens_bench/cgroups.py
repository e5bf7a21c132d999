"""Limits of Linux control groups on this process: of its own group and of every group that one is in.

A container sees its own group as the root; that of a batch job or a service lies below it. Source: cgroups(7),
"/proc/pid/cgroup"; of version 2 ``cpu.max`` and ``memory.max``, of version 1 ``cpu.cfs_quota_us`` and
``memory.limit_in_bytes``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT, MEMBER = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def core_quotas(root: Path = ROOT, member: Path = MEMBER) -> Iterator[float]:
    """Cores granted; nothing of groups without a limit."""
    for folder in _folders(root, member, ""):
        yield from _ratio(_numbers(folder / "cpu.max"))
    for folder in _folders(root, member, "cpu"):  # -1: no limit
        yield from _ratio(_numbers(folder / "cpu.cfs_quota_us") + _numbers(folder / "cpu.cfs_period_us"))


def memory_rooms(root: Path = ROOT, member: Path = MEMBER) -> Iterator[int]:
    """Bytes that each limit leaves, cached files that the kernel would drop among them; nothing without a limit."""
    of_both = (("", "memory.max", "memory.current"), ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes"))
    for kind, limit, used in of_both:
        for folder in _folders(root, member, kind):
            found = _numbers(folder / limit), _numbers(folder / used)
            if all(found):
                yield max(0, found[0][0] - found[1][0] + _droppable(folder))


def _droppable(folder: Path) -> int:
    """Bytes of files that were read and are not in use: they count as the group's until something needs the room."""
    try:
        told = dict(line.split(" ", 1) for line in (folder / "memory.stat").read_text().splitlines())
        return int(told.get("total_inactive_file", told.get("inactive_file", "0")))  # version 1, its sum over groups
    except (OSError, ValueError):
        return 0


def _folders(root: Path, member: Path, kind: str) -> Iterator[Path]:
    """The group's folder and those of the groups it is in; a group that is not to be seen from here has none.

    Args:
        kind: controller of version 1, "" for version 2.
    """
    path = _paths(member).get(kind, "/")
    parts = [] if ".." in path else [part for part in path.split("/") if part]
    yield from ((root / kind).joinpath(*parts[:n]) for n in range(len(parts), -1, -1))


def _paths(member: Path) -> dict[str, str]:
    """Controller -> group of this process."""
    try:
        lines = [line.split(":", 2) for line in member.read_text().splitlines()]
    except OSError:
        return {}
    return {kind: line[2] for line in lines if len(line) == 3 for kind in line[1].split(",")}


def _numbers(path: Path) -> list[int]:
    """The whole numbers in a small file, without those below 0 and words; none where it cannot be read."""
    try:
        return [int(text) for text in path.read_text().split() if text.isdecimal()]
    except (OSError, ValueError):
        return []


def _ratio(granted: list[int]) -> Iterator[float]:
    if len(granted) == 2 and all(granted):
        yield granted[0] / granted[1]
