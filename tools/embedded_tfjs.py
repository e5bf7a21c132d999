"""Reading MoveNet from its TensorFlow.js form (graph json + fp16 weights)."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
from embedded_graph import Array, Graph, Refused, same_padding

TAPS = {4: "block_2_add/add", 8: "block_5_add/add", 16: "block_12_add/add", 32: "block_15_add/add"}


def tfjs_constants(manifest: list[dict[str, Any]], data: bytes) -> dict[str, Array]:
    """Name -> array as stored (fp16 stays fp16)."""
    constants: dict[str, Array] = {}
    offset = 0
    for entry in (weight for group in manifest for weight in group["weights"]):
        quantization = entry.get("quantization", {})
        if "scale" in quantization:
            raise Refused(f"{entry['name']}: integer quantization")
        dtype = np.dtype(quantization.get("dtype", entry["dtype"]))
        count = int(np.prod(entry["shape"], dtype=np.int64))
        constants[entry["name"]] = np.frombuffer(data, dtype, count, offset).reshape(entry["shape"])
        offset += count * dtype.itemsize
    if offset != len(data):
        raise Refused(f"weight file holds {len(data)} bytes, the manifest describes {offset}")
    return constants


def tfjs_attribute(node: dict[str, Any], name: str, default: Any = None) -> Any:
    """A node's attribute as a Python value: ints, strings (base64 in the file), bools."""
    value = node.get("attr", {}).get(name)
    if value is None:
        return default
    if "s" in value:
        return base64.b64decode(value["s"]).decode()
    if "b" in value:
        return bool(value["b"])
    entries = value.get("list", {})
    if "s" in entries:
        return [base64.b64decode(text).decode() for text in entries["s"]]
    return [int(number) for number in entries.get("i", [])]


class TfjsReader:
    """Translates the convolutional part of a MoveNet graph; the decoding of its four maps is ours (movenet.py)."""

    PASS_THROUGH = ("Cast", "Unpack", "ExpandDims", "Squeeze")  # shuffle the input's axes before the first convolution
    HEADS = {"heatmap": "kpt_heatmap_0/conv2d", "center": "center_0/conv2d"}
    HEADS |= {"regression": "kpt_regress_0/conv2d", "offset": "kpt_offset_0/conv2d"}

    def __init__(self, path: Path) -> None:
        model = json.loads(path.read_text())
        manifest = model["weightsManifest"]
        data = b"".join((path.parent / name).read_bytes() for group in manifest for name in group["paths"])
        self.constants = tfjs_constants(manifest, data)
        self.nodes: list[dict[str, Any]] = model["modelTopology"]["node"]
        shape = next(iter(model["signature"]["inputs"].values()))["tensorShape"]["dim"]
        self.graph = Graph(input_size=int(shape[1]["size"]))
        self.values: dict[str, str] = {}  # node -> value
        self.sizes: dict[str, tuple[int, int]] = {"v0": (self.graph.input_size, self.graph.input_size)}
        self.scale, self.shift = np.ones(3, np.float32), np.zeros(3, np.float32)

    def read(self) -> Graph:
        for node in self.nodes:
            self._node(node)
        for name, fragment in self.HEADS.items():
            node = next(n["name"] for n in self.nodes if fragment in n["name"] and n["name"].endswith("/BiasAdd"))
            self.graph.outputs[name] = self.values[node]
        for stride, suffix in TAPS.items():
            node = next(n["name"] for n in self.nodes if n["name"].endswith(suffix))
            self.graph.taps[f"stride{stride}"] = self.values[node]
        self._decoding_constants()
        return self.graph

    def _node(self, node: dict[str, Any]) -> None:
        op, name = node["op"], node["name"]
        inputs = [source for source in node.get("input", []) if not source.startswith("^")]
        if op == "Placeholder" or (op in self.PASS_THROUGH and self.values.get(inputs[0]) == "v0"):
            self.values[name] = "v0"
        elif op in ("Sub", "Mul") and self.values.get(inputs[0]) == "v0":
            self._normalisation(op, name, self.constants[inputs[1]])
        elif op in ("_FusedConv2D", "FusedDepthwiseConv2dNative", "DepthwiseConv2dNative"):
            self._convolution(node, inputs)
        elif op == "AddV2" and all(source in self.values for source in inputs):
            self.values[name] = self.graph.add("add", [self.values[source] for source in inputs])
            self.sizes[self.values[name]] = self.sizes[self.values[inputs[0]]]
        elif op == "ResizeBilinear":
            if not tfjs_attribute(node, "half_pixel_centers") or tfjs_attribute(node, "align_corners"):
                raise Refused(f"{name}: only half-pixel bilinear resizing")
            height, width = (int(n) for n in self.constants[inputs[1]])
            self.values[name] = self.graph.add("resize", [self.values[inputs[0]]], size=[height, width])
            self.sizes[self.values[name]] = (height, width)

    def _normalisation(self, op: str, name: str, constant: Array) -> None:
        number = np.broadcast_to(constant.astype(np.float32).reshape(-1), (3,))
        if op == "Sub":
            self.shift = self.shift - number
        else:
            self.scale, self.shift = self.scale * number, self.shift * number
        self.values[name] = "v0"

    def _convolution(self, node: dict[str, Any], inputs: list[str]) -> None:
        source = self.values[inputs[0]]
        if source == "v0":
            source = self.graph.add("affine", ["v0"], {"scale": self.scale, "shift": self.shift})
            self.sizes[source] = self.sizes["v0"]
        weight = self.constants[inputs[1]]  # HWIO, or HWC1 for depthwise
        depthwise = "Depthwise" in node["op"]
        if depthwise and weight.shape[3] != 1:
            raise Refused(f"{node['name']}: depth multiplier {weight.shape[3]}")
        fused = tfjs_attribute(node, "fused_ops", [])
        stride, dilation = tfjs_attribute(node, "strides")[1:3], tfjs_attribute(node, "dilations")[1:3]
        if dilation != [1, 1] or not set(fused) <= {"BiasAdd", "Relu", "Relu6"}:
            raise Refused(f"{node['name']}: dilation {dilation}, fused {fused}")
        kernel, pad = weight.shape[:2], [0, 0, 0, 0]
        height, width = self.sizes[source]
        if tfjs_attribute(node, "padding") == "SAME":
            pad = [*same_padding(width, kernel[1], stride[1]), *same_padding(height, kernel[0], stride[0])]
        tensors = {"weight": weight.transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))}
        if "BiasAdd" in fused:
            tensors["bias"] = self.constants[inputs[2]]
        act = "relu6" if "Relu6" in fused else "relu" if "Relu" in fused else None
        groups = weight.shape[2] if depthwise else None
        out = self.graph.add("conv", [source], tensors, stride=stride, pad=pad, groups=groups, act=act)
        self.values[node["name"]] = out
        self.sizes[out] = (
            (height + pad[2] + pad[3] - kernel[0]) // stride[0] + 1,
            (width + pad[0] + pad[1] - kernel[1]) // stride[1] + 1,
        )

    def _decoding_constants(self) -> None:
        """Constants of MoveNet's own decoding, as stored (fp16): 1/64 is exact there, 1/48 and 1.8 are not."""
        prefix = "StatefulPartitionedCall/"
        centre = next(v for k, v in self.constants.items() if k.endswith(prefix + "truediv_2_recip"))
        rows = self.constants[prefix + "strided_slice_3"][..., 0]
        columns = self.constants[prefix + "strided_slice_4"][..., 0]
        height, width = centre.shape[:2]
        if not (rows == np.arange(height)[:, None]).all() or not (columns == np.arange(width)).all():
            raise Refused("the coordinate grids of the decoding are not plain row and column numbers")
        self.graph.tensors["decode.center_weight"] = np.ascontiguousarray(centre[..., 0])
        self.graph.tensors["decode.distance_offset"] = self.constants[prefix + "add_5/y"].reshape(1)
        self.graph.tensors["decode.cell_yx"] = self.constants[prefix + "Reshape_13"].reshape(2)
