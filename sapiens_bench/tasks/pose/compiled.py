"""Whether the compiled kernels are there, and whether the work at hand is worth loading them.

They need numba. Without it, where it cannot compile, and where it has no folder to keep what it compiled in, numpy does
the work: the results are the same, and the reason is said once.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import threading
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

# Numpy goes on until it has taken as long as loading does: whatever work follows, the two together never take more than
# twice the better of them. Where nothing is kept yet, loading compiles (3.5 s), once for all runs of this machine.
LOADING_S, COMPILING_S = 0.4, 1.0


class Kernels:
    """A module of compiled functions that is imported when it pays, and not again once that has failed."""

    def __init__(self, module: str, purpose: str) -> None:
        self._module_name, self._purpose = module, purpose
        self._lock = threading.Lock()
        self._numpy_s, self._worth_s = 0.0, -1.0
        self._module: ModuleType | None = None
        self._reason = ""

    def get(self, numpy_s: float) -> ModuleType | None:
        """The kernels, or None where numpy is to do the work.

        Args:
            numpy_s: about how many seconds numpy takes for the work at hand.
        """
        if self._module is not None or self._reason:
            return self._module
        with self._lock:
            self._numpy_s += numpy_s
            if self._numpy_s >= LOADING_S and self._worth_s < 0:  # looked up no sooner than it matters
                self._worth_s = LOADING_S if is_kept(self._module_name) else COMPILING_S
            is_worth_it = self._numpy_s >= self._worth_s >= 0
        return self.load() if is_worth_it else None

    def load(self) -> ModuleType | None:
        """The kernels, loaded now if need be; None where they cannot be had, which is said once."""
        with self._lock:
            if self._module is None and not self._reason:
                try:
                    self._module = _checked(self._module_name)
                except Exception as error:  # a compiler may fail in any way
                    self._reason = explain(error)
                    text = f"{self._purpose} runs on numpy: the same results, but slower. {self._reason}"
                    warnings.warn(text, RuntimeWarning, stacklevel=2)
        return self._module

    @property
    def reason(self) -> str:
        """Why there are no kernels; empty where there are, or where nobody has asked yet."""
        return self._reason


def is_kept(module_name: str) -> bool:
    """Whether numba has compiled a module before and kept it, beside the module or in NUMBA_CACHE_DIR."""
    spec = importlib.util.find_spec(module_name)
    if spec is None or spec.origin is None:
        return False
    source = Path(spec.origin)
    pattern = f"{source.stem}.*.py{sys.version_info.major}{sys.version_info.minor}*.nbi"
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    found = Path(chosen).rglob(pattern) if chosen else (source.parent / "__pycache__").glob(pattern)
    try:
        return any(path.stat().st_mtime >= source.stat().st_mtime for path in found)
    except OSError:
        return False


def explain(error: Exception) -> str:
    """What to do about kernels that could not be loaded."""
    if isinstance(error, ModuleNotFoundError) and error.name == "numba":
        return "numba is not installed: pip install numba."
    if "cannot cache" in str(error) or isinstance(error, OSError):
        return f"numba cannot keep what it compiles ({error}): set NUMBA_CACHE_DIR to a folder that can be written."
    return f"numba cannot compile here ({type(error).__name__}: {error})."


def _checked(name: str) -> ModuleType:
    """Import the kernels and see that they round as this numpy does.

    Raises:
        RuntimeError: numba does not compile (NUMBA_DISABLE_JIT), adds in another order, or fuses operations.
    """
    config = importlib.import_module("numba").config
    if config.DISABLE_JIT:
        raise RuntimeError("NUMBA_DISABLE_JIT is set")
    kernels = importlib.import_module(name)
    values = np.random.default_rng(0).random(1200) ** 4
    for n in (*range(1, 300), 511, 1000, 1199):
        if kernels.pairwise_sum(values, 1, n) != values[1 : n + 1].sum():
            raise RuntimeError(f"this numpy adds {n} values in another order")
    if not _rounds_alike(kernels, values):
        raise RuntimeError("it rounds other than numpy")
    return kernels


def _rounds_alike(kernels: ModuleType, values: NDArray[np.float64]) -> bool:
    """Whether the exponents of one pair are those of numpy, bit for bit."""
    n = len(values) // 5
    x, y, to_x, to_y, variances = values[: 5 * n].reshape(5, 1, n)
    buffer, n_points = np.empty(n), np.empty(1, np.int64)
    zero, one, scale = np.zeros(1, np.int64), np.ones(1, np.int64), np.array([7.3])
    kernels.exponents(
        0, buffer, n_points, x, y, zero, zero, one, zero, to_x, to_y, np.ones((1, n), bool), scale, np.zeros((1, 4)),
        variances[0],
    )  # fmt: skip
    wanted = ((x - to_x) ** 2 + (y - to_y) ** 2) / variances / scale * -0.5
    return np.array_equal(buffer, wanted[0])


KERNELS = Kernels("sapiens_bench.tasks.pose.kernels", "OKS scoring")
