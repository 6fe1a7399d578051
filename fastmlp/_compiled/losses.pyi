# A function does nothing and returns None if an array is not ready (csrc/kernels/arrays.pxd).
# "| Any" stands for this None, which calls with checked arrays never get.

from typing import Any

from fastmlp._types import Array

ELEMENT_LOSSES: dict[str, int]

def softmax(x: Array, out: Array | None) -> Array | Any: ...
def log_softmax(x: Array, out: Array | None) -> Array | Any: ...
def softmax_backward(dy: Array, y: Array, out: Array | None) -> Array | Any: ...
def log_softmax_backward(dy: Array, y: Array, out: Array | None) -> Array | Any: ...
def cross_entropy(
    logits: Array,
    labels: Array,
    out: Array | None,
    smoothing: float,
    class_weight: Array | None,
    weights: Array | None,
) -> tuple[float, Array] | Any: ...
def hinge(
    scores: Array, labels: Array, out: Array | None, margin: float, weights: Array | None
) -> tuple[float, Array] | Any: ...
def element_loss(
    kind: int,
    prediction: Array,
    target: Array,
    out: Array | None,
    parameter: float,
    weights: Array | None,
) -> tuple[float, Array] | Any: ...
def count_correct(scores: Array, labels: Array) -> int | Any: ...
def sum_batch(x: Array, out: Array | None) -> Array | Any: ...
