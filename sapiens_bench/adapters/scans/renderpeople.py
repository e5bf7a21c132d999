"""RenderPeople: commercial scans.

    <root>/rp_NAME_posed_NNN_OBJ/rp_NAME_posed_NNN_100k.obj, .mtl, tex/rp_NAME_posed_NNN_dif_8k.jpg

Of several meshes in a folder (30k, 100k, 200k) the one with most bytes is taken. Deliveries differ in their axes, so
the axis that is up comes from the extents.

Source: SangHunHan92/2K2K, render/render.py (layout); shunsukesaito/PIFu, apps/render_data.py (up axis by extents).
"""

from __future__ import annotations

import re

from sapiens_bench.adapters.scans.find import Layout
from sapiens_bench.adapters.scans.scan_set import ScanSet


class RenderPeople(ScanSet):
    """Textured scans, by name."""

    layout = Layout(re.compile(r"(rp_.+?)(?:_obj)?", re.IGNORECASE), "rp_NAME/*.obj", has_copies=True)
    draws = "renderpeople-render/1"
