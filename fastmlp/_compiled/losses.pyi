# A function does nothing and returns None if an array is not ready (csrc/kernels/arrays.pxd).
# "| Any" stands for this None, which calls with checked arrays never get.

from typing import Any

import numpy.typing as npt

_Array = npt.NDArray[Any]

ELEMENT_LOSSES: dict[str, int]
MSE: int
MAE: int
HUBER: int
BINARY_CROSS_ENTROPY: int

def softmax(x: _Array, out: _Array | None) -> _Array | Any: ...
def log_softmax(x: _Array, out: _Array | None) -> _Array | Any: ...
def softmax_backward(dy: _Array, y: _Array, out: _Array | None) -> _Array | Any: ...
def log_softmax_backward(dy: _Array, y: _Array, out: _Array | None) -> _Array | Any: ...
def cross_entropy(
    logits: _Array,
    labels: _Array,
    out: _Array | None,
    smoothing: float,
    class_weight: _Array | None,
    weights: _Array | None,
) -> tuple[float, _Array] | Any: ...
def hinge(
    scores: _Array, labels: _Array, out: _Array | None, margin: float, weights: _Array | None
) -> tuple[float, _Array] | Any: ...
def element_loss(
    kind: int,
    prediction: _Array,
    target: _Array,
    out: _Array | None,
    parameter: float,
    weights: _Array | None,
) -> tuple[float, _Array] | Any: ...
def count_correct(scores: _Array, labels: _Array) -> int | Any: ...
def sum_batch(x: _Array, out: _Array | None) -> _Array | Any: ...
