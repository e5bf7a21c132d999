"""What a pre-trained Sapiens v1 sees in a picture: input, hidden patches, and what its decoder paints there.

    python tools/draw_reconstruction.py sapiens_0.3b_epoch_1600.pth OUT.jpg PICTURE ... [--ratio 0.75 --ratio 0.95]

One row a picture and ratio. Needs the file of the whole pre-training; ``_clean`` files hold no decoder.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sapiens_bench.errors import SapiensBenchError  # noqa: E402
from sapiens_bench.models.parts.masked_autoencoder import RATIOS, MaskedAutoencoder  # noqa: E402
from sapiens_bench.pixels.codecs import read_rgb  # noqa: E402
from sapiens_bench.probe.picture import save_rows  # noqa: E402


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--ratio", type=float, action="append")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    try:
        network = MaskedAutoencoder(asked.weights)
        rows = []
        for path in asked.pictures:
            for ratio in asked.ratio or RATIOS:
                found = network.reconstruct(read_rgb(path), ratio, asked.seed)
                print(f"{path.name}, {ratio:.0%} hidden: normalised squared error {found.error:.3f}")
                rows.append([found.picture, found.masked, found.painted])
    except SapiensBenchError as error:
        raise SystemExit(str(error)) from None
    save_rows(rows, asked.out, height=256)


if __name__ == "__main__":
    main()
