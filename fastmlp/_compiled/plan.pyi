from collections.abc import Callable
from typing import Any, final

import numpy as np
import numpy.typing as npt

ACTIVATIONS: dict[str, int]
UPDATE_RULES: dict[str, int]
ELEMENT_LOSSES: dict[str, int]
STORE: int
KEEP: int
VALUES_OF_A_SUM: int
SCRATCH_ROWS: int
LIST_ROWS: int

def change_threads(every: int) -> None: ...
def lanes() -> tuple[int, int]: ...
def list_memory(inputs: int, rows: int, double_precision: bool) -> tuple[int, int]: ...
def listed_share(source: npt.NDArray[Any], count: int, features: int, groups: int) -> float: ...
def convolution_memory(
    window: tuple[int, ...], filters: int, lanes: int
) -> tuple[int, int, int]: ...

@final
class Program:
    weight: float
    @property
    def threads(self) -> int: ...
    @property
    def progress(self) -> tuple[int, int]: ...
    @property
    def losses(self) -> Any: ...
    @property
    def correct(self) -> Any: ...
    def __new__(
        cls, double_precision: bool, capacity: int, threads: int, scratch: int
    ) -> Program: ...
    def add(
        self,
        kind: str,
        *,
        keep: tuple[Any, ...] = ...,
        function: Callable[[int, int], None] | None = ...,
        inputs: int = ...,
        outputs: int = ...,
        x: int = ...,
        x_row: int = ...,
        y: int = ...,
        y_row: int = ...,
        z: int = ...,
        z_row: int = ...,
        w: int = ...,
        b: int = ...,
        dy: int = ...,
        dy_row: int = ...,
        dyt: int = ...,
        dyt_row: int = ...,
        dx: int = ...,
        dx_row: int = ...,
        dxt: int = ...,
        dxt_row: int = ...,
        saved: int = ...,
        saved_row: int = ...,
        activation: int = ...,
        parameter: float = ...,
        class_weight: int = ...,
        rule: int = ...,
        multiplier: float = ...,
        l1: float = ...,
        l2: float = ...,
        clamps: bool = ...,
        sums: int = ...,
        s0: int = ...,
        s1: int = ...,
        bs0: int = ...,
        bs1: int = ...,
        bytes: bool = ...,
        scale: float = ...,
        threads: int = ...,
        barrier: bool = ...,
        checks: bool = ...,
        by_rows: bool = ...,
        window: tuple[int, ...] | None = ...,
        pool: tuple[int, ...] | None = ...,
        index: int = ...,
        index_row: int = ...,
        filters: int = ...,
        filters_row: int = ...,
        parts: int = ...,
        parts_row: int = ...,
        chunks: int = ...,
        key: int = ...,
        threshold: int = ...,
        keep_scale: float = ...,
        masked: int = ...,
        masked_row: int = ...,
        epsilon: float = ...,
        momentum: float = ...,
        statistics: int = ...,
        partial: int = ...,
        running_mean: int = ...,
        running_variance: int = ...,
        index_bytes: int = ...,
        sums_rows: bool = ...,
        vocabulary: int = ...,
        row_gradients: int = ...,
        marks: int = ...,
        lists: int = ...,
        lists_row: int = ...,
        listed: bool = ...,
    ) -> None: ...
    def add_penalties(self, penalties: npt.NDArray[np.float64]) -> None: ...
    def run(
        self,
        source: Any,
        total: int,
        batch: int,
        *,
        sample_bytes: int,
        in_place: bool,
        x_row: int,
        order: npt.NDArray[np.int64] | None = ...,
        labels: npt.NDArray[np.int64] | None = ...,
        targets: npt.NDArray[Any] | None = ...,
        weights: npt.NDArray[np.float64] | None = ...,
        out: npt.NDArray[Any] | None = ...,
        counts: bool = ...,
        stops: bool = ...,
        coefficients: npt.NDArray[np.float64] | None = ...,
        first_step: int = ...,
        poll: Callable[[int, float, int], Any] | None = ...,
        interval: float = ...,
        every_step: bool = ...,
        steps_between: int = ...,
        watch: Callable[[int, float, float, int, float], Any] | None = ...,
        watched: int = ...,
        steps_before: int = ...,
        sums: tuple[int, float, float, int] | None = ...,
        threads: int = ...,
        epoch_loss: npt.NDArray[np.float64],
        epoch_seconds: npt.NDArray[np.float64],
        epoch_correct: npt.NDArray[np.int64],
    ) -> tuple[float, float, int, int, bool, int]: ...
    def one(self, source: Any, out: Any, sample_bytes: int, in_place: bool, x_row: int) -> None: ...
