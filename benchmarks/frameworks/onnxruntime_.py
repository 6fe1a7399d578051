"""ONNX Runtime: prediction with a graph of Gemm and activation nodes."""

from __future__ import annotations

from typing import Any

import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from turns import measure

from frameworks.workloads import Workload, threads

ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}


def version() -> str:
    return f"onnxruntime {onnxruntime.__version__}"


def graph_of(workload: Workload) -> onnx.ModelProto:
    nodes, constants, name = [], [], "x"
    weights = workload.first_weights()
    for i, (weight, bias) in enumerate(weights):
        constants += [
            numpy_helper.from_array(weight, f"w{i}"),
            numpy_helper.from_array(bias, f"b{i}"),
        ]
        last = i == len(weights) - 1
        nodes.append(helper.make_node("Gemm", [name, f"w{i}", f"b{i}"], ["y" if last else f"z{i}"]))
        if not last:
            nodes.append(helper.make_node(ACTIVATIONS[workload.activation], [f"z{i}"], [f"y{i}"]))
            name = f"y{i}"
    shapes = {"x": ["rows", workload.sizes[0]], "y": ["rows", workload.sizes[-1]]}
    x, y = (
        helper.make_tensor_value_info(key, TensorProto.FLOAT, shape)
        for key, shape in shapes.items()
    )
    graph = helper.make_graph(nodes, "mlp", [x], [y], constants)
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


def predict(workload: Workload, seconds: float) -> dict[str, Any]:
    x, _ = workload.data()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        graph_of(workload).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def call() -> Any:
        return session.run(None, {"x": x})[0]

    return {"seconds": measure(call, seconds / 7), "check": call()[-1].tolist()}
