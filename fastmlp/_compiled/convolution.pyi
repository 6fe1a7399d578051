# Fused functions: f["float"] and f["double"] take one dtype, f(...) chooses by its arguments.

from typing import Any, Protocol

import numpy.typing as npt

_Array = npt.NDArray[Any]

class _Conv2D(Protocol):
    def __getitem__(self, dtype: str) -> _Conv2D: ...
    def __call__(
        self,
        x: _Array,
        w: _Array,
        b: _Array | None,
        y: _Array,
        sy: int,
        sx: int,
        top: int,
        left: int,
        relu: bool,
    ) -> None: ...

class _Conv2DBackwardInput(Protocol):
    def __getitem__(self, dtype: str) -> _Conv2DBackwardInput: ...
    def __call__(
        self, dy: _Array, w: _Array, dx: _Array, sy: int, sx: int, top: int, left: int
    ) -> None: ...

class _Conv2DBackwardWeights(Protocol):
    def __getitem__(self, dtype: str) -> _Conv2DBackwardWeights: ...
    def __call__(
        self, x: _Array, dy: _Array, dw: _Array, sy: int, sx: int, top: int, left: int
    ) -> None: ...

class _MaxPool2D(Protocol):
    def __call__(
        self, x: _Array, y: _Array, index: _Array, ph: int, pw: int, sy: int, sx: int
    ) -> None: ...

class _MaxPool2DBackward(Protocol):
    def __call__(
        self, dy: _Array, index: _Array, dx: _Array, ph: int, pw: int, sy: int, sx: int
    ) -> None: ...

class _AvgPool2D(Protocol):
    def __getitem__(self, dtype: str) -> _AvgPool2D: ...
    def __call__(self, x: _Array, y: _Array, ph: int, pw: int, sy: int, sx: int) -> None: ...

class _AvgPool2DBackward(Protocol):
    def __getitem__(self, dtype: str) -> _AvgPool2DBackward: ...
    def __call__(self, dy: _Array, dx: _Array, ph: int, pw: int, sy: int, sx: int) -> None: ...

conv2d: _Conv2D
conv2d_backward_input: _Conv2DBackwardInput
conv2d_backward_weights: _Conv2DBackwardWeights
max_pool2d: _MaxPool2D
max_pool2d_backward: _MaxPool2DBackward
avg_pool2d: _AvgPool2D
avg_pool2d_backward: _AvgPool2DBackward
