# Fused functions: f["float"] and f["double"] are those of one dtype, f(...) chooses by arguments.

from typing import Any, Protocol

import numpy.typing as npt

_Array = npt.NDArray[Any]

class _Matmul(Protocol):
    def __getitem__(self, dtype: str) -> _Matmul: ...
    def __call__(
        self,
        a: _Array,
        b: _Array,
        out: _Array,
        transpose_a: bool,
        transpose_b: bool,
        accumulate: bool,
        alpha: float,
    ) -> None: ...

class _Dense(Protocol):
    def __getitem__(self, dtype: str) -> _Dense: ...
    def __call__(
        self,
        x: _Array,
        weight: _Array,
        bias: _Array | None,
        out: _Array,
        relu: bool,
    ) -> None: ...

matmul: _Matmul
dense: _Dense
