"""The options of heads that ``sapiens-bench probe`` fitted, without the libraries that run them."""

from __future__ import annotations

from typing import Literal

from sapiens_bench.cards.options import NoOptions, Options


class ProbeDepthOptions(Options):
    depth_kind: Literal["affine_invariant_depth"]
    """Heads are fitted to depth up to factor and offset."""


class ProbePoseOptions(Options):
    flip_test: bool = True
    """Mean with the mirrored crop."""


PROBE_WRAPPERS: dict[str, dict[str, type[Options]]] = {
    "probe_head": {"seg": NoOptions, "depth": ProbeDepthOptions, "normal": NoOptions},
    "probe_pose": {"pose": ProbePoseOptions},
}
