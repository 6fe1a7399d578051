# Fused functions: f["float"] and f["double"] take one dtype, f(...) chooses by its arguments.

from typing import Protocol

from fastmlp._types import Array

class _Conv2D(Protocol):
    def __getitem__(self, dtype: str) -> _Conv2D: ...
    def __call__(
        self,
        x: Array,
        w: Array,
        b: Array | None,
        y: Array,
        sy: int,
        sx: int,
        top: int,
        left: int,
        relu: bool,
    ) -> None: ...

class _Conv2DBackwardInput(Protocol):
    def __getitem__(self, dtype: str) -> _Conv2DBackwardInput: ...
    def __call__(
        self, dy: Array, w: Array, dx: Array, sy: int, sx: int, top: int, left: int
    ) -> None: ...

class _Conv2DBackwardWeights(Protocol):
    def __getitem__(self, dtype: str) -> _Conv2DBackwardWeights: ...
    def __call__(
        self, x: Array, dy: Array, dw: Array, sy: int, sx: int, top: int, left: int
    ) -> None: ...

class _MaxPool2D(Protocol):
    def __call__(
        self, x: Array, y: Array, index: Array, ph: int, pw: int, sy: int, sx: int
    ) -> None: ...

class _MaxPool2DBackward(Protocol):
    def __call__(
        self, dy: Array, index: Array, dx: Array, ph: int, pw: int, sy: int, sx: int
    ) -> None: ...

class _AvgPool2D(Protocol):
    def __getitem__(self, dtype: str) -> _AvgPool2D: ...
    def __call__(self, x: Array, y: Array, ph: int, pw: int, sy: int, sx: int) -> None: ...

class _AvgPool2DBackward(Protocol):
    def __getitem__(self, dtype: str) -> _AvgPool2DBackward: ...
    def __call__(self, dy: Array, dx: Array, ph: int, pw: int, sy: int, sx: int) -> None: ...

conv2d: _Conv2D
conv2d_backward_input: _Conv2DBackwardInput
conv2d_backward_weights: _Conv2DBackwardWeights
max_pool2d: _MaxPool2D
max_pool2d_backward: _MaxPool2DBackward
avg_pool2d: _AvgPool2D
avg_pool2d_backward: _AvgPool2DBackward
