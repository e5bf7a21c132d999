"""Turn the published weight files of the embedded models into safetensors with a graph description.

    python tools/convert_embedded.py SOURCES OUT [--only NAME ...] [--heavy]

SOURCES holds the untouched files (TensorFlow.js json + bin, .tflite) and a ``SHA256SUMS``; every file read is checked
against it, and the two TensorFlow.js topologies, which that list does not cover, against the hashes below. Weights keep
their bits: fp16 stays fp16, only the axes are reordered for torch (OIHW). The description is JSON in the file's
metadata, key ``graph``; ``sapiens_bench/models/graph.py`` executes it. Constants are folded, padding goes into the
convolution that follows it, activations into the operation before them, and what no output needs is dropped. The same
sources give the same bytes.

Needs numpy; the .tflite files also need the ``tflite`` package (a flatbuffer reader). No torch, no TensorFlow.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from embedded_graph import Refused, safetensors_bytes, simplify
from embedded_tfjs import TfjsReader
from embedded_tflite import TfliteReader

FORMAT = "sapiens-bench-graph/1"
BLAZEPOSE_OUTPUTS = ("landmarks", "presence", "mask_logits", "heatmap_logits", "world")
HAND_OUTPUTS = ("landmarks", "presence", "handedness", "world")
FACE_OUTPUTS = ("landmarks", "presence_logit")


@dataclass(frozen=True)
class Source:
    """One model: where it comes from and what its outputs are called."""

    file: str
    title: str
    licence: str
    outputs: tuple[str, ...] = ()
    on_request: bool = False
    topology_sha256: str = ""  # the .json of a TensorFlow.js model


def _blazepose(size: str, on_request: bool = False) -> Source:
    title = f"BlazePose {size.capitalize()} (MediaPipe pose_landmark_{size})"
    return Source(f"pose_landmark_{size}.tflite", title, "Apache-2.0", BLAZEPOSE_OUTPUTS, on_request)


def _movenet(size: str, topology_sha256: str) -> Source:
    title = f"MoveNet SinglePose {size.capitalize()} v4"
    return Source(f"movenet-{size}.json", title, "Apache-2.0", topology_sha256=topology_sha256)


SOURCES = {
    "movenet_lightning": _movenet("lightning", "df8cbde44d00f533ccc4916a7c6ebc17316532fb3fadad114ec667fef22872e9"),
    "movenet_thunder": _movenet("thunder", "7ac4e2a8449fc279f71b8b0ba52f7c5daafc124ce9b6bf7549289ca432e342b6"),
    "blazepose_lite": _blazepose("lite"),
    "blazepose_full": _blazepose("full"),
    "blazepose_heavy": _blazepose("heavy", on_request=True),
    "selfie_segmentation": Source(
        "selfie_segmentation.tflite", "MediaPipe selfie segmentation (general)", "Apache-2.0", ("mask",)
    ),
    "hand_landmark": Source("hand_landmark_full.tflite", "MediaPipe hand landmarks (full)", "Apache-2.0", HAND_OUTPUTS),
    "face_landmark": Source("face_landmark.tflite", "MediaPipe face mesh, 468 points", "Apache-2.0", FACE_OUTPUTS),
}


def verify(folder: Path, names: list[str]) -> dict[str, str]:
    """sha256 of each file; raises Refused where one differs from SHA256SUMS or is not listed there."""
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    listed = {name: digest for digest, name in (line.split() for line in lines if line.strip())}
    listed |= {source.file: source.topology_sha256 for source in SOURCES.values() if source.topology_sha256}
    found = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    wrong = [name for name, digest in found.items() if listed.get(name) != digest]
    if wrong:
        raise Refused(f"{folder}: sha256 differs from the published files: {', '.join(wrong)}")
    return found


def convert(name: str, folder: Path) -> bytes:
    """The converted file of one model, as bytes. Raises Refused."""
    source = SOURCES[name]
    path = folder / source.file
    files = [source.file] + ([path.with_suffix(".bin").name] if path.suffix == ".json" else [])
    hashes = verify(folder, files)
    graph = TfjsReader(path).read() if path.suffix == ".json" else TfliteReader(path, source.outputs).read()
    simplify(graph)
    description = {
        "format": FORMAT,
        "name": name,
        "input": {"size": graph.input_size, "channels": 3},
        "outputs": graph.outputs,
        "taps": graph.taps,
        "ops": graph.ops,
    }
    origin = {"title": source.title, "licence": source.licence, "sha256": hashes}
    as_json = {"graph": description, "source": origin}
    return safetensors_bytes(graph.tensors, {k: json.dumps(v, separators=(",", ":")) for k, v in as_json.items()})


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sources", type=Path, help="folder with the untouched files and SHA256SUMS")
    parser.add_argument("out", type=Path, help="folder for the .safetensors files")
    parser.add_argument("--only", nargs="+", choices=sorted(SOURCES), default=[], help="default: all but heavy")
    parser.add_argument("--heavy", action="store_true", help="also blazepose_heavy (27 MB, not shipped)")
    options = parser.parse_args(arguments)
    names = options.only or [n for n, s in SOURCES.items() if options.heavy or not s.on_request]
    options.out.mkdir(parents=True, exist_ok=True)
    for name in names:
        try:
            data = convert(name, options.sources)
        except (Refused, OSError, ImportError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 2
        (options.out / f"{name}.safetensors").write_bytes(data)
        print(f"{hashlib.sha256(data).hexdigest()}  {len(data):>9}  {name}.safetensors")
    return 0


if __name__ == "__main__":
    sys.exit(main())
