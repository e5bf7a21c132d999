"""Reading MediaPipe's float networks from their .tflite form (fp16 weights behind DEQUANTIZE)."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from embedded_graph import Array, Graph, Refused, same_padding

ACTIVATIONS = {"RELU": "relu", "HARD_SWISH": "hardswish", "LOGISTIC": "sigmoid"}
TFLITE_FUSED = {0: None, 1: "relu", 3: "relu6"}
TFLITE_DTYPES: dict[int, Any] = {0: np.float32, 1: np.float16, 2: np.int32}


class TfliteReader:
    """Translates one subgraph, operation by operation; anything unknown is refused."""

    def __init__(self, path: Path, outputs: tuple[str, ...]) -> None:
        import tflite

        self.tflite = tflite
        self.model = tflite.Model.GetRootAs(path.read_bytes(), 0)
        self.subgraph = self.model.Subgraphs(0)
        codes = {number: name for name, number in vars(tflite.BuiltinOperator).items() if isinstance(number, int)}
        self.codes: dict[int, str] = codes
        self.outputs = outputs
        self.constants: dict[int, Array] = {}
        self.values: dict[int, str] = {}
        self.graph = Graph(input_size=self._shape(int(self.subgraph.Inputs(0)))[1])

    def _shape(self, index: int) -> list[int]:
        tensor = self.subgraph.Tensors(index)
        return [int(n) for n in tensor.ShapeAsNumpy()] if tensor.ShapeLength() else []

    def read(self) -> Graph:
        for index in range(self.subgraph.TensorsLength()):
            tensor = self.subgraph.Tensors(index)
            buffer = self.model.Buffers(tensor.Buffer())
            if buffer.DataLength():
                if tensor.Sparsity() is not None or tensor.Type() not in TFLITE_DTYPES:
                    raise Refused(f"tensor {index}: sparse, or of type {tensor.Type()}")
                raw = np.frombuffer(buffer.DataAsNumpy().tobytes(), TFLITE_DTYPES[tensor.Type()])
                self.constants[index] = raw.reshape(self._shape(index))
        self.values[int(self.subgraph.Inputs(0))] = "v0"
        for index in range(self.subgraph.OperatorsLength()):
            self._operator(self.subgraph.Operators(index))
        indices = [int(self.subgraph.Outputs(i)) for i in range(self.subgraph.OutputsLength())]
        if len(indices) != len(self.outputs):
            raise Refused(f"{len(indices)} outputs, expected {len(self.outputs)}")
        self.graph.outputs = {name: self.values[i] for name, i in zip(self.outputs, indices, strict=True)}
        return self.graph

    def _operator(self, operator: Any) -> None:
        code = self.model.OperatorCodes(operator.OpcodeIndex())
        name = self.codes[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        if name == "CUSTOM":
            name = code.CustomCode().decode()
        inputs, out = [int(i) for i in operator.InputsAsNumpy()], int(operator.Outputs(0))
        if name == "DEQUANTIZE" and inputs[0] in self.constants:
            self.constants[out] = self.constants[inputs[0]]  # the fp16 value; graph.py widens it
            return
        translate = getattr(self, f"_{name.lower()}", None)
        if name in ACTIVATIONS:
            self.values[out] = self.graph.add("act", [self.values[inputs[0]]], act=ACTIVATIONS[name])
        elif translate is None:
            raise Refused(f"operation {name}")
        else:
            self.values[out] = translate(operator, inputs, out)

    def _options(self, operator: Any, kind: str) -> Any:
        options = getattr(self.tflite, kind)()
        table = operator.BuiltinOptions()
        options.Init(table.Bytes, table.Pos)
        return options

    def _act(self, options: Any) -> str | None:
        return TFLITE_FUSED[options.FusedActivationFunction()]

    def _window(self, options: Any, source: int, kernel: tuple[int, int]) -> tuple[list[int], list[int]]:
        """(stride, [left, right, top, bottom]) of a convolution or pooling window."""
        stride = [options.StrideH(), options.StrideW()]
        if options.Padding() != self.tflite.Padding.SAME:
            return stride, [0, 0, 0, 0]
        _, height, width, _ = self._shape(source)
        return stride, [*same_padding(width, kernel[1], stride[1]), *same_padding(height, kernel[0], stride[0])]

    def _conv_2d(self, operator: Any, inputs: list[int], out: int, kind: str = "Conv2DOptions") -> str:
        options = self._options(operator, kind)
        if (options.DilationHFactor(), options.DilationWFactor()) != (1, 1):
            raise Refused("dilated convolution")
        weight = self.constants[inputs[1]]  # OHWI, or 1HWC for depthwise
        depthwise = kind.startswith("Depthwise")
        stride, pad = self._window(options, inputs[0], (weight.shape[1], weight.shape[2]))
        tensors = {"weight": weight.transpose((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))}
        tensors["bias"] = self.constants[inputs[2]]
        groups = weight.shape[3] if depthwise else None
        source = [self.values[inputs[0]]]
        return self.graph.add("conv", source, tensors, stride=stride, pad=pad, groups=groups, act=self._act(options))

    def _depthwise_conv_2d(self, operator: Any, inputs: list[int], out: int) -> str:
        return self._conv_2d(operator, inputs, out, "DepthwiseConv2DOptions")

    def _convolution2dtransposebias(self, operator: Any, inputs: list[int], out: int) -> str:
        """MediaPipe's own operation; its options are three int32: padding, stride width, stride height."""
        padding, stride_w, stride_h = struct.unpack("<3i", operator.CustomOptionsAsNumpy().tobytes()[:12])
        weight = self.constants[inputs[1]]  # OHWI
        if weight.shape[1:3] != (stride_h, stride_w):
            raise Refused(f"transposed convolution: kernel {weight.shape}, stride {stride_h, stride_w}, {padding}")
        tensors = {"weight": weight.transpose(3, 0, 1, 2), "bias": self.constants[inputs[2]]}
        return self.graph.add("conv_transpose", [self.values[inputs[0]]], tensors, stride=[stride_h, stride_w])

    def _add(self, operator: Any, inputs: list[int], out: int) -> str:
        act = self._act(self._options(operator, "AddOptions"))
        return self.graph.add("add", [self.values[i] for i in inputs], act=act)

    def _mul(self, operator: Any, inputs: list[int], out: int) -> str:
        act = self._act(self._options(operator, "MulOptions"))
        return self.graph.add("mul", [self.values[i] for i in inputs], act=act)

    def _pad(self, operator: Any, inputs: list[int], out: int) -> str:
        (n0, n1), (top, bottom), (left, right), channels = self.constants[inputs[1]].tolist()
        if n0 or n1 or channels[0]:
            raise Refused("padding of the batch, or before the channels")
        return self.graph.add("pad", [self.values[inputs[0]]], pad=[left, right, top, bottom], channels=channels[1])

    def _resize_bilinear(self, operator: Any, inputs: list[int], out: int) -> str:
        options = self._options(operator, "ResizeBilinearOptions")
        if options.AlignCorners() or not options.HalfPixelCenters():
            raise Refused("only half-pixel bilinear resizing")
        return self.graph.add("resize", [self.values[inputs[0]]], size=[int(n) for n in self.constants[inputs[1]]])

    def _prelu(self, operator: Any, inputs: list[int], out: int) -> str:
        slope = self.constants[inputs[1]]
        if slope.size != slope.shape[-1]:
            raise Refused(f"PReLU with slopes {slope.shape}: only one per channel")
        return self.graph.add("prelu", [self.values[inputs[0]]], {"weight": slope.reshape(-1)})

    def _fully_connected(self, operator: Any, inputs: list[int], out: int) -> str:
        """Of a vector: a 1 x 1 convolution of the map that ``mean`` leaves, then flattened."""
        options = self._options(operator, "FullyConnectedOptions")
        weight = self.constants[inputs[1]]  # [out, in]
        tensors = {"weight": weight[:, :, None, None], "bias": self.constants[inputs[2]]}
        source, act = [self.values[inputs[0]]], self._act(options)
        if self._shape(inputs[0]) != [1, weight.shape[1]] and self._shape(inputs[0]) != [1, 1, 1, weight.shape[1]]:
            raise Refused(f"a fully connected layer on {self._shape(inputs[0])}")
        found = self.graph.add("conv", source, tensors, stride=[1, 1], pad=[0, 0, 0, 0], act=act)
        return self.graph.add("flatten", [found])

    def _mean(self, operator: Any, inputs: list[int], out: int) -> str:
        axes = sorted(self.constants[inputs[1]].reshape(-1).tolist())
        if axes != [1, 2] or len(self._shape(inputs[0])) != 4:
            raise Refused(f"a mean over the axes {axes}")
        return self.graph.add("mean", [self.values[inputs[0]]])

    def _max_pool_2d(self, operator: Any, inputs: list[int], out: int) -> str:
        options = self._options(operator, "Pool2DOptions")
        kernel = [options.FilterHeight(), options.FilterWidth()]
        stride, pad = self._window(options, inputs[0], (kernel[0], kernel[1]))
        if any(pad) or self._act(options):
            raise Refused("padded pooling")
        return self.graph.add("max_pool", [self.values[inputs[0]]], kernel=kernel, stride=stride)

    def _average_pool_2d(self, operator: Any, inputs: list[int], out: int) -> str:
        if self._shape(out)[1:3] != [1, 1] or self._act(self._options(operator, "Pool2DOptions")):
            raise Refused("average pooling that is not global")
        return self.graph.add("mean", [self.values[inputs[0]]])

    def _reshape(self, operator: Any, inputs: list[int], out: int) -> str:
        if self._shape(inputs[0])[1:3] != [1, 1]:
            raise Refused("reshape of a map")
        return self.graph.add("flatten", [self.values[inputs[0]]])
