"""pyarrow without pandas: what it would import, half a second's worth, at its first conversion, no command uses."""

from __future__ import annotations

import sys


def spare_pandas() -> None:
    """Answer pyarrow's question whether pandas is installed with no; before threads start.

    It asks once, and again when somebody wants a data frame, who then gets it (pyarrow/pandas-shim.pxi,
    ``_check_import``).
    """
    if "pandas" in sys.modules:
        return
    import pyarrow as pa

    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(finder)


class _NoPandas:
    """Finds every module where it is, and pandas nowhere."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None
