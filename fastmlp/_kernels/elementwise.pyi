# Fused functions: f["float"] and f["double"] are those of one dtype, f(...) chooses by arguments.

from typing import Any, Protocol

import numpy.typing as npt

_Array = npt.NDArray[Any]

class _Unary(Protocol):
    def __getitem__(self, dtype: str) -> _Unary: ...
    def __call__(self, function: int, x: _Array, out: _Array, parameter: float) -> None: ...

class _Backward(Protocol):
    def __getitem__(self, dtype: str) -> _Backward: ...
    def __call__(
        self,
        function: int,
        dy: _Array,
        saved: _Array,
        out: _Array,
        parameter: float,
    ) -> None: ...

class _AddBias(Protocol):
    def __getitem__(self, dtype: str) -> _AddBias: ...
    def __call__(self, x: _Array, bias: _Array, out: _Array) -> None: ...

class _Update(Protocol):
    def __getitem__(self, dtype: str) -> _Update: ...
    def __call__(
        self,
        kind: int,
        w: _Array,
        g: _Array,
        s0: _Array | None,
        s1: _Array | None,
        p: _Array,
    ) -> None: ...

class _Penalize(Protocol):
    def __getitem__(self, dtype: str) -> _Penalize: ...
    def __call__(self, l1: float, l2: float, w: _Array, g: _Array) -> None: ...

class _Clamp(Protocol):
    def __getitem__(self, dtype: str) -> _Clamp: ...
    def __call__(self, limit: float, x: _Array, out: _Array) -> None: ...

class _Scale(Protocol):
    def __getitem__(self, dtype: str) -> _Scale: ...
    def __call__(self, factor: float, x: _Array) -> None: ...

class _Sums(Protocol):
    def __getitem__(self, dtype: str) -> _Sums: ...
    def __call__(self, x: _Array, squares: bool) -> float: ...

class _MultiplyAdds(Protocol):
    def __getitem__(self, dtype: str) -> _MultiplyAdds: ...
    def __call__(self, rounds: int, tag: float) -> tuple[float, int]: ...

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

unary: _Unary
backward: _Backward
add_bias: _AddBias
update: _Update
penalize: _Penalize
clamp: _Clamp
scale: _Scale
sums: _Sums
multiply_adds: _MultiplyAdds
