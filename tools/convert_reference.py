"""Write keypoint and label sets, their maps and the published tables from a folder of reference files.

    python tools/convert_reference.py FOLDER [--out REPOSITORY]

FOLDER holds paper_tables.yaml, keypoint_maps.json, goliath_keypoints.json and goliath_seg_classes.json. Written are
datasets/spaces/*.yaml, datasets/spaces/maps/*.yaml and results/published/* below the repository; running it twice
gives the same bytes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import yaml
from reference_holistic import holistic_cards
from reference_labels import label_cards
from reference_published import published_cards, published_notes
from reference_spaces import keypoint_cards

from sapiens_bench.cards.loading import parse_yaml
from sapiens_bench.errors import CardError

HEADER = "# Written by tools/convert_reference.py from the reference files; edit those, not this.\n"
WIDTH = 118


def scalar(value: Any) -> str:
    """YAML for one value; text is quoted unless it reads back as itself everywhere."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    text = str(value)
    plain = text.replace(" ", "").replace("-", "").replace("_", "").replace(".", "").replace("/", "").replace("+", "")
    if plain.isascii() and plain.isalnum() and text[0].isalpha() and text == text.strip():
        try:
            if parse_yaml(f"k: {text}", "") == {"k": text}:
                return text
        except CardError:  # it reads as something else: quoted below
            pass
    return json.dumps(text, ensure_ascii=False)


def flow(value: Any) -> str:
    """One line of YAML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(k)}: {flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow(v) for v in value) + "]"
    return scalar(value)


def is_flat(value: Any) -> bool:
    """True for a list of scalars or of short lists."""
    return isinstance(value, list | tuple) and all(
        not isinstance(v, dict) and (not isinstance(v, list | tuple) or is_flat(v)) for v in value
    )


def wrapped(items: list[str], indent: str) -> str:
    """A flow list over several lines."""
    lines, line = [], indent
    for i, item in enumerate(items):
        part = item + ("," if i + 1 < len(items) else "")
        if len(line) + len(part) + 1 > WIDTH and line.strip():
            lines.append(line)
            line = indent
        line += part if not line.strip() else " " + part
    return "[\n" + "\n".join([*lines, line]) + "\n" + indent[:-2] + "]"


def block(value: Any, indent: str = "") -> str:
    """Several lines of YAML for a mapping or a list of mappings."""
    lines: list[str] = []
    pairs = value.items() if isinstance(value, dict) else [(None, item) for item in value]
    for key, item in pairs:
        head = f"{indent}- " if key is None else f"{indent}{scalar(key)}: "
        short = flow(item)
        long_text = isinstance(item, str | int | float) or item is None or not item
        small = not isinstance(item, dict) or (len(item) <= 5 and not any(isinstance(v, dict) for v in item.values()))
        if long_text or (len(head) + len(short) <= WIDTH and (small or len(indent) >= 4)):
            lines.append(head + short)
        elif is_flat(item) and not all(isinstance(v, str) and len(v) > 60 for v in item):
            lines.append(head + wrapped([flow(v) for v in item], indent + "  "))
        elif key is None:
            lines.append(head + block(item, indent + "  ").lstrip())
        else:
            lines.append(head.rstrip() + "\n" + block(item, indent + "  "))
    return "\n".join(lines)


def write(path: Path, card: dict[str, Any]) -> None:
    """Write a card and make sure it reads back as the same values."""
    text = HEADER + block(card) + "\n"
    back = parse_yaml(text, path.name)
    if json.loads(json.dumps(card)) != json.loads(json.dumps(back)):
        raise SystemExit(f"{path.name} does not read back as written")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1])
    arguments = parser.parse_args()
    read = {
        name: json.loads((arguments.folder / f"{name}.json").read_text("utf-8"))
        for name in ("keypoint_maps", "goliath_keypoints", "goliath_seg_classes")
    }
    tables = yaml.load((arguments.folder / "paper_tables.yaml").read_text("utf-8"), Loader=yaml.CSafeLoader)
    spaces = arguments.out / "datasets" / "spaces"
    cards, maps = keypoint_cards(read["keypoint_maps"], read["goliath_keypoints"])
    more_cards, more_maps = holistic_cards({card["id"]: card for card in cards})
    cards, maps = cards + more_cards, maps + more_maps
    label_spaces, label_maps = label_cards(read["goliath_seg_classes"])
    for card in (*cards, *label_spaces):
        write(spaces / f"{card['id'].replace('-', '_')}.yaml", card)
    for card in (*maps, *label_maps):
        write(spaces / "maps" / f"{card['id'].replace('-', '_')}.yaml", card)
    published = arguments.out / "results" / "published"
    for name, card in published_cards(tables).items():
        write(published / f"{name}.yaml", card)
    (published / "README.md").write_text(published_notes(tables), encoding="utf-8")
    print(f"{len(cards) + len(label_spaces)} sets, {len(maps) + len(label_maps)} maps, tables in {published}")


if __name__ == "__main__":
    main()
