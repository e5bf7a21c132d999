"""THuman2.0 and 2.1.

    <root>/NNNN/NNNN.obj, material0.mtl, material0.jpeg     or up to three folders deeper, in any number of folders
    <root>/model/NNNN/NNNN.obj, <root>/smplx/NNNN/...       the release of 2.1; fits are left out

Scans 0000 to 0525 stand along y; those from 0526 on come from another batch and stand along z (issues 24 and 36 of
ytrock/THuman2.0-Dataset).
"""

from __future__ import annotations

import re

from sapiens_bench.adapters.scans.find import Layout
from sapiens_bench.adapters.scans.options import ScanSetOptions
from sapiens_bench.adapters.scans.scan_set import ScanSet
from sapiens_bench.render.mesh import Up

THUMAN = Layout(re.compile(r"(\d{4,5})"), "NNNN/NNNN.obj")


class THuman2(ScanSet):
    """Scans of one person each, by id."""

    class Options(ScanSetOptions):
        up: Up = "y"
        z_up_from: int | None = 526

    layout = THUMAN
    draws = "thuman2-render/1"
