"""ONNX Runtime: prediction with a graph of Conv, MaxPool, Gemm and activation nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from turns import measure

from frameworks.workloads import Conv, Workload, threads

ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}


def version() -> str:
    return f"onnxruntime {onnxruntime.__version__}"


def graph_of(workload: Workload) -> onnx.ModelProto:
    """Return a graph from samples ``x`` (images with channels first) to logits ``y``."""
    nodes: list[onnx.NodeProto] = []
    constants, name = [], "x"

    def add(kind: str, inputs: list[str], **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [f"z{len(nodes)}"], **attributes))
        return f"z{len(nodes) - 1}"

    def with_constants(i: int) -> list[str]:
        for letter, value in zip("wb", weights[i], strict=True):
            constants.append(numpy_helper.from_array(value, f"{letter}{i}"))
        return [name, f"w{i}", f"b{i}"]

    weights = workload.first_weights(channels_first=True)
    activation, i = ACTIVATIONS[workload.activation], 0
    for stage in workload.stages:
        sides = [stage.size] * 2
        if isinstance(stage, Conv):
            pads = [stage.size // 2 if stage.same else 0] * 4
            name = add("Conv", with_constants(i), kernel_shape=sides, pads=pads)
            name = add(activation, [name])
            i += 1
        else:
            name = add("MaxPool", [name], kernel_shape=sides, strides=[stage.strides] * 2)
    if workload.image:
        name = add("Flatten", [name])
    while i < len(weights):
        name = add("Gemm", with_constants(i))
        i += 1
        if i < len(weights):
            name = add(activation, [name])
    nodes[-1].output[0] = "y"
    *places, channels = workload.input_shape
    shapes = {"x": ["rows", channels, *places], "y": ["rows", workload.sizes[-1]]}
    x, y = (
        helper.make_tensor_value_info(key, TensorProto.FLOAT, shape)
        for key, shape in shapes.items()
    )
    graph = helper.make_graph(nodes, "network", [x], [y], constants)
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


def predict(workload: Workload, seconds: float) -> dict[str, Any]:
    x, _ = workload.data()
    if workload.image:
        x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        graph_of(workload).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    size = 250 if workload.image else len(x)  # values between layers stay in cache

    def call() -> Any:
        starts = range(0, len(x), size)
        parts = [session.run(None, {"x": x[start : start + size]})[0] for start in starts]
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    return {"seconds": measure(call, seconds / 7), "check": call()[-1].tolist()}
