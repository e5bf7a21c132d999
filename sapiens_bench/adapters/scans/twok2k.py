"""2K2K.

    <root>/train/NNNNN/NNNNN.ply, <root>/test/NNNNN/NNNNN.ply or .obj

Meshes carry a colour on every vertex and stand along y; smplx*.obj beside them are fits. Source: SangHunHan92/2K2K,
render/render.py, and ketiVision/2K2K, README.md.
"""

from __future__ import annotations

import re

from sapiens_bench.adapters.scans.find import Layout
from sapiens_bench.adapters.scans.options import ScanSetOptions
from sapiens_bench.adapters.scans.scan_set import ScanSet
from sapiens_bench.render.mesh import Up


class TwoK2K(ScanSet):
    """Vertex-coloured scans, by id."""

    class Options(ScanSetOptions):
        up: Up = "y"

    layout = Layout(re.compile(r"(\d{5})"), "NNNNN/NNNNN.ply", suffixes=(".ply", ".obj"))
    draws = "2k2k-render/1"
