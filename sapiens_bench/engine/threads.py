"""How many threads do what, from the cores that this process may use.

Three kinds of work share the cores: loaders (decode, crop), operators (the network) and scorers (finish, measure).
OpenMP's default lets idle operator threads spin; on a machine with other work they then hold the cores that loaders and
other processes need, and everything slows down many times. So waiting is passive, and on a CPU the crops of a small
network run beside each other with one operator thread each, which needs no waiting at all.

On one core, with one loader (``--threads 1 --workers 1``), there are no threads: each image is loaded, computed and
finished in turn. With more loaders, the files of the next images are waited for meanwhile.

``prepare_process`` must run before torch is loaded: its OpenMP reads the wait policy once, when it starts.
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sapiens_bench.cgroups import MEMBER, ROOT, core_quotas

MOST_LOADERS = 16
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _LARGEST = -1, -3, 32 << 20  # malloc.h of glibc; bytes


@dataclass(frozen=True, slots=True)
class Threads:
    """A division of the cores."""

    cores: int  # that this process may use
    operators: int  # at work in the network at the same time; on a GPU, torch's own threads on the CPU
    loaders: int
    scorers: int


def usable_cores(root: Path = ROOT, member: Path = MEMBER) -> int:
    """Cores by affinity and by the quota of the control group; at least one."""
    by_affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([by_affinity, *(math.ceil(quota) for quota in core_quotas(root, member))]))


def division(threads: int | None = None, workers: int | None = None) -> Threads:
    """The policy: every core computes, and every core may load; scorers are half as many.

    Args:
        threads: cores to be used, None: all that this process may use.
        workers: loader threads, None: as many as cores, at least two so that decoding overlaps with the network.
    """
    cores = threads or usable_cores()
    loaders = workers or min(MOST_LOADERS, max(2, cores))
    return Threads(cores, operators=cores, loaders=loaders, scorers=max(1, cores // 2))


def prepare_process(threads: int | None = None) -> None:
    """Set what libraries read when they are loaded; what the user has set stays."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("KMP_BLOCKTIME", "0")
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(threads or usable_cores())


def keep_freed_memory() -> None:
    """Let glibc keep what was freed for the next image, as it does by itself after a picture of 32 MB.

    Until then every decoded image is given back to the system and taken from it anew, page by page: some 400 page
    faults, a millisecond, for each of 640 x 480. What the user has set by MALLOC_* stays; other C libraries have other
    rules. Source: mallopt(3), "dynamic mmap threshold".
    """
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST)
        mallopt(_M_TRIM_THRESHOLD, 2 * _LARGEST)


@contextmanager
def prompt_launches(device: str) -> Iterator[None]:
    """While a GPU is fed, the thread that launches kernels soon has the interpreter's lock again.

    Every launch gives the lock away; loaders and scorers may keep it for ``sys.getswitchinterval``, 5 ms as a rule, and
    hundreds of launches a batch would each wait for that. Here it is a tenth of a millisecond.
    """
    if not device.startswith("cuda"):
        yield
        return
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
