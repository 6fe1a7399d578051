# Fused functions: f["float"] and f["double"] take one dtype, f(...) chooses by its arguments.

from typing import Any, Protocol

import numpy.typing as npt

_Array = npt.NDArray[Any]

class _Dropout(Protocol):
    def __getitem__(self, dtype: str) -> _Dropout: ...
    def __call__(
        self, x: _Array, out: _Array, key: int, step: int, threshold: int, scale: float
    ) -> None: ...

class _GaussianNoise(Protocol):
    def __getitem__(self, dtype: str) -> _GaussianNoise: ...
    def __call__(self, x: _Array, out: _Array, key: int, step: int, stddev: float) -> None: ...

class _BatchMoments(Protocol):
    def __getitem__(self, dtype: str) -> _BatchMoments: ...
    def __call__(self, x: _Array, mean: _Array, variance: _Array) -> None: ...

class _BatchNorm(Protocol):
    def __getitem__(self, dtype: str) -> _BatchNorm: ...
    def __call__(
        self,
        x: _Array,
        gamma: _Array,
        beta: _Array,
        mean: _Array,
        variance: _Array,
        epsilon: float,
        factors: _Array,
        out: _Array,
    ) -> None: ...

class _BatchNormBackward(Protocol):
    def __getitem__(self, dtype: str) -> _BatchNormBackward: ...
    def __call__(
        self,
        dy: _Array,
        x: _Array,
        gamma: _Array,
        mean: _Array,
        variance: _Array,
        epsilon: float,
        sums: _Array,
        factors: _Array,
        out: _Array,
        dgamma: _Array,
        dbeta: _Array,
    ) -> None: ...

class _LayerNorm(Protocol):
    def __getitem__(self, dtype: str) -> _LayerNorm: ...
    def __call__(
        self,
        x: _Array,
        gamma: _Array,
        beta: _Array,
        epsilon: float,
        moments: _Array,
        out: _Array,
    ) -> None: ...

class _LayerNormBackward(Protocol):
    def __getitem__(self, dtype: str) -> _LayerNormBackward: ...
    def __call__(
        self,
        dy: _Array,
        x: _Array,
        gamma: _Array,
        epsilon: float,
        moments: _Array,
        sums: _Array,
        out: _Array,
        dgamma: _Array,
        dbeta: _Array,
    ) -> None: ...

class _RowMoments(Protocol):
    def __getitem__(self, dtype: str) -> _RowMoments: ...
    def __call__(self, x: _Array, moments: _Array) -> None: ...

class _Embedding(Protocol):
    def __getitem__(self, dtype: str) -> _Embedding: ...
    def __call__(self, x: _Array, weight: _Array, sums: bool, out: _Array) -> None: ...

class _EmbeddingBackward(Protocol):
    def __getitem__(self, dtype: str) -> _EmbeddingBackward: ...
    def __call__(self, dy: _Array, x: _Array, sums: bool, out: _Array) -> None: ...

dropout: _Dropout
gaussian_noise: _GaussianNoise
batch_moments: _BatchMoments
batch_norm: _BatchNorm
batch_norm_backward: _BatchNormBackward
layer_norm: _LayerNorm
layer_norm_backward: _LayerNormBackward
row_moments: _RowMoments
embedding: _Embedding
embedding_backward: _EmbeddingBackward
