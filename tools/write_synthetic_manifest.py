"""Write ``sapiens_bench/embedded/synthetic_humans_manifest.jsonl``: tolerant hashes of splits default and tiny.

    python tools/write_synthetic_manifest.py [--cache FOLDER] [--workers N]

To be run, and the result committed, whenever ``render.scene.VERSION`` is raised.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from sapiens_bench.adapters.synthetic.humans import SyntheticHumans, manifest_path
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.engine.build import open_data
from sapiens_bench.engine.data_specs import check_options
from sapiens_bench.engine.request import Request
from sapiens_bench.render.manifest import write_manifest


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cache", type=Path, help="folder to render into; a temporary one by default")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    catalog = Catalog.load()
    card = catalog.dataset("synthetic-humans")
    with tempfile.TemporaryDirectory() as folder:
        root = arguments.cache or Path(folder)
        entries = []
        for split in ("default", "tiny"):
            spec = check_options(card, "depth", Request(task="depth", split=split).data(), catalog)
            data = open_data(replace(spec, root=root)).adapter
            assert isinstance(data, SyntheticHumans)
            data.materialise(range(len(data)), arguments.workers, lambda done, total: None)
            entries += [data.manifest_entry(index) for index in range(len(data))]
    write_manifest(manifest_path(), entries)
    print(f"{manifest_path()}: {len(entries)} images, {manifest_path().stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
