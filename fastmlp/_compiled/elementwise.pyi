# A function does nothing and returns None if an array is not ready (csrc/kernels/arrays.pxd).
# "| Any" stands for this None, which calls with checked arrays never get.

from typing import Any, Protocol

import numpy.typing as npt

_Array = npt.NDArray[Any]

class _MultiplyAdds(Protocol):
    def __getitem__(self, dtype: str) -> _MultiplyAdds: ...
    def __call__(self, rounds: int, tag: float) -> tuple[float, int]: ...

UNARY: dict[str, int]
UPDATE_RULES: dict[str, int]
EXP: int
LOG: int
RELU: int
LEAKY_RELU: int
ELU: int
GELU: int
SILU: int
SOFTPLUS: int
TANH: int
SIGMOID: int
RELU_BACKWARD: int
LEAKY_RELU_BACKWARD: int
ELU_BACKWARD: int
GELU_BACKWARD: int
SILU_BACKWARD: int
SOFTPLUS_BACKWARD: int
TANH_BACKWARD: int
SIGMOID_BACKWARD: int
SGD: int
MOMENTUM: int
NESTEROV: int
ADAGRAD: int
RMSPROP: int
ADAM: int
ADAMW: int
UPDATES: tuple[str, ...]

multiply_adds: _MultiplyAdds

def unary(function: int, x: _Array, out: _Array | None, parameter: float) -> _Array | Any: ...
def backward(
    function: int, dy: _Array, saved: _Array, out: _Array | None, parameter: float
) -> _Array | Any: ...
def add_bias(x: _Array, bias: _Array, out: _Array | None) -> _Array | Any: ...
def update(
    rule: int,
    w: _Array,
    g: _Array,
    states: tuple[_Array, ...],
    coefficients: tuple[float, ...],
) -> _Array | Any: ...
def penalize(l1: float, l2: float, w: _Array, g: _Array) -> _Array | Any: ...
def clamp(limit: float, x: _Array, out: _Array | None) -> _Array | Any: ...
def scale(factor: float, x: _Array) -> _Array | Any: ...
def sums(x: _Array, squares: bool) -> float | Any: ...
