"""Ship the heads of finished probes with the package: files, cards, logs.

    python tools/embed_probes.py probes/movenet-lightning probes/blazepose-full ...

Each folder is one that ``sapiens-bench probe --out`` wrote, of a shipped trunk and one seed. Writes
``sapiens_bench/embedded/probe_<trunk>.safetensors``, ``results/probes/<trunk>.csv``, the log of the training, and
``baselines/probe_heads_<task>.yaml`` with a row for every head that is shipped then, those from before included. A head
that is new lacks its counts: write what ``sapiens-bench profile --models NAME --counts`` says into its card.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sapiens_bench.models.parts.head_file import HeadFile, load_head  # noqa: E402
from sapiens_bench.models.parts.trunks import SHIPPED  # noqa: E402

TITLES = {"seg": "28 parts", "depth": "depth", "normal": "normals"}
NOTE = "Heads are ours; trunks are MoveNet's and BlazePose's, see sapiens_bench/embedded/NOTICE.models."


def main(folders: list[str]) -> None:
    """Ship every folder's head."""
    for folder in map(Path, folders):
        (file,) = folder.glob("*.safetensors")
        about, _, trunk = load_head(file)
        if about.backbone not in SHIPPED or trunk:
            raise SystemExit(f"{file} is not the head of a frozen, shipped trunk.")
        shutil.copyfile(file, embedded(about.backbone))
        log = ROOT / "results" / "probes" / f"{about.backbone}.csv"
        log.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / "seed-0" / "log.csv", log)
    files = [embedded(trunk) for trunk in SHIPPED if embedded(trunk).is_file()]
    heads = [(load_head(file)[0], file) for file in files]
    for task in TITLES:
        text = yaml.safe_dump(card(task, heads), sort_keys=False, allow_unicode=True, width=120)
        (ROOT / "baselines" / f"probe_heads_{task}.yaml").write_text(text, encoding="utf-8")


def embedded(trunk: str) -> Path:
    """The head of a trunk in the package."""
    return ROOT / "sapiens_bench" / "embedded" / f"probe_{trunk.replace('-', '_')}.safetensors"


def card(task: str, heads: list[tuple[HeadFile, Path]]) -> dict[str, Any]:
    """The card of one task: a row a trunk."""
    commands = " ".join(f"`{about.made['command']}` ({about.made['settings']['steps']} steps)" for about, _ in heads)
    made = (
        "Frozen trunk, trained head with a small image stem (it also sees the picture itself). One file holds heads "
        f"for segmentation, depth and normals, fitted together. Seed 0; logs in results/probes. Commands: {commands}"
    )
    return {
        "schema": "model/1",
        "id": f"probe-heads-{task}",
        "title": f"Heads on shipped trunks ({TITLES[task]})",
        "task": task,
        "licence": {"name": "Apache-2.0", "commercial": True, "may_redistribute": True, "note": NOTE},
        "wrapper": "probe_head",
        "verified": "shape",
        **({"space": "body28"} if task == "seg" else {}),
        "trained_on": "synthetic-humans train",
        "in_domain": ["synthetic-humans"],
        "notes": made,
        "variants": [variant(task, about, file) for about, file in heads],
    }


def variant(task: str, about: HeadFile, file: Path) -> dict[str, Any]:
    """One row."""
    shipped = SHIPPED[about.backbone]
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    return {
        "id": f"{about.backbone}-{task}",
        "title": f"{shipped.title} + head",
        "input": {"height": about.input_hw[0], "width": about.input_hw[1]},
        **({"options": {"depth_kind": "affine_invariant_depth"}} if task == "depth" else {}),
        "weights": {
            "file": file.name,
            "format": "safetensors",
            "sha256": sha256,
            "size_bytes": file.stat().st_size,
            "get": {"how": "Shipped with the package.", "embedded": True},
            "also": {shipped.file: about.trunk},
        },
        **counts_of(task, sha256),
    }


def counts_of(task: str, sha256: str) -> dict[str, float]:
    """Parameters and operations that the card has of this very file; none of a new one."""
    path = ROOT / "baselines" / f"probe_heads_{task}.yaml"
    rows = yaml.safe_load(path.read_text(encoding="utf-8"))["variants"] if path.is_file() else []
    same = [row for row in rows if row["weights"]["sha256"] == sha256]
    return {name: row[name] for row in same for name in ("params_m", "gmacs") if name in row}


if __name__ == "__main__":
    main(sys.argv[1:])
