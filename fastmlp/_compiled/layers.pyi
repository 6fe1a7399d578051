# Fused functions: f["float"] and f["double"] take one dtype, f(...) chooses by its arguments.

from typing import Protocol

from fastmlp._types import Array

class _Dropout(Protocol):
    def __getitem__(self, dtype: str) -> _Dropout: ...
    def __call__(
        self, x: Array, out: Array, key: int, step: int, threshold: int, scale: float
    ) -> None: ...

class _GaussianNoise(Protocol):
    def __getitem__(self, dtype: str) -> _GaussianNoise: ...
    def __call__(self, x: Array, out: Array, key: int, step: int, stddev: float) -> None: ...

class _BatchMoments(Protocol):
    def __getitem__(self, dtype: str) -> _BatchMoments: ...
    def __call__(self, x: Array, mean: Array, variance: Array) -> None: ...

class _BatchNorm(Protocol):
    def __getitem__(self, dtype: str) -> _BatchNorm: ...
    def __call__(
        self,
        x: Array,
        gamma: Array,
        beta: Array,
        mean: Array,
        variance: Array,
        epsilon: float,
        factors: Array,
        out: Array,
    ) -> None: ...

class _BatchNormBackward(Protocol):
    def __getitem__(self, dtype: str) -> _BatchNormBackward: ...
    def __call__(
        self,
        dy: Array,
        x: Array,
        gamma: Array,
        mean: Array,
        variance: Array,
        epsilon: float,
        sums: Array,
        factors: Array,
        out: Array,
        dgamma: Array,
        dbeta: Array,
    ) -> None: ...

class _LayerNorm(Protocol):
    def __getitem__(self, dtype: str) -> _LayerNorm: ...
    def __call__(
        self,
        x: Array,
        gamma: Array,
        beta: Array,
        epsilon: float,
        moments: Array,
        out: Array,
    ) -> None: ...

class _LayerNormBackward(Protocol):
    def __getitem__(self, dtype: str) -> _LayerNormBackward: ...
    def __call__(
        self,
        dy: Array,
        x: Array,
        gamma: Array,
        epsilon: float,
        moments: Array,
        sums: Array,
        out: Array,
        dgamma: Array,
        dbeta: Array,
    ) -> None: ...

class _RowMoments(Protocol):
    def __getitem__(self, dtype: str) -> _RowMoments: ...
    def __call__(self, x: Array, moments: Array) -> None: ...

class _Embedding(Protocol):
    def __getitem__(self, dtype: str) -> _Embedding: ...
    def __call__(self, x: Array, weight: Array, sums: bool, out: Array) -> None: ...

class _EmbeddingBackward(Protocol):
    def __getitem__(self, dtype: str) -> _EmbeddingBackward: ...
    def __call__(self, dy: Array, x: Array, sums: bool, out: Array) -> None: ...

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
