"""CustomHumans.

    <root>/mesh/NNNN_.../mesh-fNNNNN.obj, .mtl, .png     the release; fits in smplx/ are left out
    <root>/NNNN/mesh-fNNNNN.obj, mesh-fNNNNN_smpl.obj    the training folder that its authors' script makes

Scans stand along y. Source: custom-humans/editable-humans, README.md and tools/prepare_dataset.py.
"""

from __future__ import annotations

import re

from sapiens_bench.adapters.scans.find import Layout
from sapiens_bench.adapters.scans.options import ScanSetOptions
from sapiens_bench.adapters.scans.scan_set import ScanSet
from sapiens_bench.render.mesh import Up


class CustomHumans(ScanSet):
    """Textured scans, by id."""

    class Options(ScanSetOptions):
        up: Up = "y"

    layout = Layout(re.compile(r"(\d{4})(?:_.*)?"), "NNNN/mesh-fNNNNN.obj", takes_all=True)
    draws = "customhumans-render/1"
