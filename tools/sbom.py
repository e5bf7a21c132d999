"""What an installation of this package consists of, as CycloneDX: ``python tools/sbom.py OUT.json [--extra dev]``.

Lists the packages that are installed here and needed, directly or by way of others, each with version and licence; and
the data files that the package ships, each with its sha256. Format: CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
NAME = "sapiens-vision-bench"
DATA = (".npz", ".safetensors")
IN_NOTICE = "see NOTICE"  # names each file with its licence


def normal(name: str) -> str:
    """A package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(requirement: Requirement, extras: Sequence[str]) -> bool:
    """Whether a requirement applies on this machine with these extras."""
    if requirement.marker is None:
        return True
    return any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras))


def closure(name: str, extras: Sequence[str] = ()) -> dict[str, metadata.Distribution]:
    """Every installed distribution that ``name`` needs, by normal name, itself left out."""
    found: dict[str, metadata.Distribution] = {}
    waiting: list[tuple[str, Sequence[str]]] = [(name, extras)]
    while waiting:
        owner, wanted = waiting.pop()
        for text in metadata.requires(owner) or ():
            requirement = Requirement(text)
            key = normal(requirement.name)
            if key in found or not needed(requirement, wanted):
                continue
            try:
                found[key] = metadata.distribution(requirement.name)
            except metadata.PackageNotFoundError:
                continue  # of a platform or extra that is not installed here
            waiting.append((requirement.name, tuple(requirement.extras)))
    return found


def check_extras(extras: Sequence[str]) -> None:
    """Refuse an extra that the package does not have: its list would silently be that without it."""
    known = sorted(metadata.metadata(NAME).get_all("Provides-Extra") or ())
    if wrong := [extra for extra in extras if normal(extra) not in map(normal, known)]:
        raise SystemExit(f"error: --extra {wrong[0]}: {NAME} has no such extra. Known: {', '.join(known)}.")


def licence(distribution: metadata.Distribution) -> str:
    """An SPDX expression where the package states one, else the first thing it says about its licence."""
    facts = distribution.metadata
    if expression := facts.get("License-Expression"):
        return str(expression)
    classes = [str(c) for c in facts.get_all("Classifier") or () if str(c).startswith("License ::")]
    if classes:
        return " / ".join(c.rpartition(":: ")[2] for c in classes)
    return str(facts.get("License") or "not stated").strip().splitlines()[0][:80]


def components(extras: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """Packages, then data files."""
    for name, distribution in sorted(closure(NAME, extras).items()):
        yield {
            "type": "library",
            "bom-ref": f"pkg:pypi/{name}@{distribution.version}",
            "name": name,
            "version": distribution.version,
            "purl": f"pkg:pypi/{name}@{distribution.version}",
            "licenses": [{"license": {"name": licence(distribution)}}],
        }
    for path in sorted((ROOT / "sapiens_bench").rglob("*")):
        if path.suffix in DATA:
            name = path.relative_to(ROOT).as_posix()
            yield {
                "type": "data",
                "bom-ref": name,
                "name": name,
                "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(path.read_bytes()).hexdigest()}],
                "licenses": [{"license": {"name": IN_NOTICE}}],
            }


def document(extras: Sequence[str] = ()) -> dict[str, Any]:
    """The whole bill. No time and no serial number go in: the same installation gives the same bytes."""
    own = metadata.distribution(NAME)
    found = list(components(extras))
    about = {"type": "application", "bom-ref": NAME, "name": NAME, "version": own.version}
    licences = [{"license": {"name": licence(own)}}]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {**about, "licenses": licences}},
        "components": found,
        "dependencies": [{"ref": NAME, "dependsOn": [each["bom-ref"] for each in found if each["type"] == "library"]}],
    }


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--extra", action="append", default=[], help="of pyproject.toml: dev, ray, s3 ...; repeatable")
    args = parser.parse_args()
    check_extras(args.extra)
    args.out.write_text(json.dumps(document(args.extra), indent=1) + "\n")


if __name__ == "__main__":
    main()
