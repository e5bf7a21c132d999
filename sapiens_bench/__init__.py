"""sapiens-bench: benchmark and evaluation harness for human vision models.

>>> import sapiens_bench
>>> record = sapiens_bench.evaluate(task="pose", models=["movenet-thunder"], limit=8)
>>> model = sapiens_bench.load_model("movenet-thunder")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sapiens_bench.api import evaluate, load_model

__version__ = "0.3.0"

__all__ = ["__version__", "evaluate", "load_model"]

_LAZY = {  # name -> module; importing the package itself stays cheap
    "evaluate": "sapiens_bench.api",
    "load_model": "sapiens_bench.api",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
