"""Pictures with an EXIF orientation where nobody said whether it counts: what the declared sizes decided is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sapiens_bench.adapters.coco.people import CocoPeople
from sapiens_bench.errors import SampleFault
from sapiens_bench.pixels.decode import open_picture

_LOOKED_AT = 12  # pictures, evenly spread


def turned_note(people: CocoPeople, folder: Path) -> tuple[str, ...]:
    """What to say of the pictures whose declared size settles their orientation; nothing where none is like that.

    A picture that cannot be opened, or whose size settles nothing, is left to its row.
    """
    n = len(people.file_names)
    places = sorted({int(i) for i in np.linspace(0, n - 1, min(n, _LOOKED_AT)).round()}) if n else []
    found = []
    for place in places:
        width, height = (int(side) for side in people.sizes_I2[place])
        name = people.file_names[place]
        if not width or not height or not (folder / name).is_file():
            continue
        try:
            picture = open_picture(name, root=folder)
            policy = picture.settled("unstated", (width, height))
        except SampleFault:
            continue
        if picture.orientation != 1:
            how = "as viewed" if policy == "apply" else "as stored"
            found.append(f"{name}, orientation {picture.orientation}, read {how}")
    if not found:
        return ()
    count = f"{len(found)} of the {len(places)} looked at; the first: {found[0]}"
    return (
        f"Pictures with an EXIF orientation, which their declared size decides ({count}). "
        "State it: exif: apply or ignore, or --data-option exif=...",
    )
