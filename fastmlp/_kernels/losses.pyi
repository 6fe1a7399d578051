# Fused functions: f["float"] and f["double"] are those of one dtype, f(...) chooses by arguments.

from typing import Any, Protocol

import numpy.typing as npt

_Array = npt.NDArray[Any]

class _Softmax(Protocol):
    def __getitem__(self, dtype: str) -> _Softmax: ...
    def __call__(self, x: _Array, out: _Array) -> None: ...

class _SoftmaxBackward(Protocol):
    def __getitem__(self, dtype: str) -> _SoftmaxBackward: ...
    def __call__(self, dy: _Array, y: _Array, out: _Array) -> None: ...

class _CrossEntropy(Protocol):
    def __getitem__(self, dtype: str) -> _CrossEntropy: ...
    def __call__(
        self,
        logits: _Array,
        labels: _Array | None,
        targets: _Array | None,
        out: _Array,
        smoothing: float,
        class_weight: _Array | None,
        weights: _Array | None,
    ) -> float: ...

class _Hinge(Protocol):
    def __getitem__(self, dtype: str) -> _Hinge: ...
    def __call__(
        self, scores: _Array, labels: _Array, out: _Array, margin: float, weights: _Array | None
    ) -> float: ...

class _ElementLoss(Protocol):
    def __getitem__(self, dtype: str) -> _ElementLoss: ...
    def __call__(
        self,
        kind: int,
        prediction: _Array,
        target: _Array,
        out: _Array,
        parameter: float,
        weights: _Array | None,
    ) -> float: ...

class _CountCorrectLabels(Protocol):
    def __getitem__(self, dtype: str) -> _CountCorrectLabels: ...
    def __call__(self, scores: _Array, labels: _Array) -> int: ...

class _CountCorrectTargets(Protocol):
    def __getitem__(self, dtype: str) -> _CountCorrectTargets: ...
    def __call__(self, scores: _Array, targets: _Array) -> int: ...

MSE: int
MAE: int
HUBER: int
BINARY_CROSS_ENTROPY: int

softmax: _Softmax
log_softmax: _Softmax
softmax_backward: _SoftmaxBackward
log_softmax_backward: _SoftmaxBackward
cross_entropy: _CrossEntropy
hinge: _Hinge
element_loss: _ElementLoss
count_correct_labels: _CountCorrectLabels
count_correct_targets: _CountCorrectTargets
sum_batch: _Softmax
