"""The options of every wrapper and detector of this package, without the libraries that run them.

The plan reads options before any network library is loaded, so they stand here and not beside the networks. A wrapper
outside the package carries its class itself, as attribute ``Options``.
"""

from __future__ import annotations

from collections.abc import Mapping

from sapiens_bench.cards.options import Options
from sapiens_bench.models.dense_options import DENSE_PREDICTIONS

# key of WRAPPERS -> its class, or one class per task where they differ
OPTIONS: dict[str, type[Options] | Mapping[str, type[Options]]] = {
    "predictions": DENSE_PREDICTIONS,
}
