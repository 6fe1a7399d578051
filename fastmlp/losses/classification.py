"""Losses of classifiers, computed from raw outputs: cross-entropies and the hinge loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from fastmlp import _checks
from fastmlp._types import Array, DType, Shape
from fastmlp.losses.base import Loss

__all__ = ["BinaryCrossEntropy", "CrossEntropy", "Hinge"]


class CrossEntropy(Loss):
    """Mean of ``-log(softmax(logits)[label])``, from logits: the last layer needs no softmax.

    Targets are integer labels (N,), or rows of probabilities (N, C) such as one-hot rows. With
    smoothing ``e``, class weights ``c``, sample weights ``s`` and target rows ``t`` (one-hot for a
    label):

    ``loss = sum(s * -sum(c * ((1 - e) * t + e / C) * log_softmax)) / sum(s * sum(c * t))``

    Parameters
    ----------
    label_smoothing : float, default=0.0
        Share of every target that is spread evenly over all classes, in [0, 1).
    class_weight : array of shape (C,) or dict of int to float, default=None
        Weight of each class, finite and at least 0, not all 0. Classes that are missing in a dict
        have weight 1.

    Raises
    ------
    ValueError
        If a number is out of range. The methods of the model raise it if ``class_weight`` does not
        match the number of classes.
    TypeError
        If an argument has the wrong type.

    Notes
    -----
    For labels this is PyTorch's ``CrossEntropyLoss(weight, label_smoothing=...)``, whose mean also
    divides by the weights of the labels. For rows of probabilities PyTorch divides by N instead;
    here a one-hot row gives the same loss as its label. A batch of total weight 0 has loss 0.

    References
    ----------
    Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, Rethinking the inception architecture for computer
    vision, 2015, section 7.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.Sequential([fm.Flatten()], input_shape=3)  # the outputs are the inputs
    >>> model.compile(loss=fm.CrossEntropy(label_smoothing=0.1))
    >>> round(model.evaluate([[2.0, 0.0, 0.0]], [0])["loss"], 4)
    0.3729
    """

    name = "cross_entropy"
    classifies = True

    def __init__(
        self,
        label_smoothing: float = 0.0,
        class_weight: npt.ArrayLike | Mapping[int, float] | None = None,
    ) -> None:
        super().__init__(
            label_smoothing=_checks.number(
                label_smoothing, "label_smoothing", minimum=0.0, below=1.0
            ),
            class_weight=None if class_weight is None else _checks.class_weight(class_weight),
        )

    @property
    def label_smoothing(self) -> float:
        """Share of every target that is spread over all classes."""
        smoothing: Any = self._settings["label_smoothing"]
        return float(smoothing)

    @property
    def class_weight(self) -> tuple[float, ...] | dict[int, float] | None:
        """Class weights: a tuple for all classes, or a dict for some of them."""
        given: Any = self._settings["class_weight"]
        return dict(given) if given is not None and isinstance(given[0], tuple) else given

    def check_output(self, output_shape: Shape) -> None:
        """Require outputs (C,) with C >= 2, and class weights for these classes only."""
        _check_scores(output_shape, self.name)
        self.weights_of_classes(output_shape[0])

    def targets(self, y: Any, n: int, output_shape: Shape, dtype: DType, name: str = "y") -> Array:
        """Return labels as int64 (N,) or probabilities as ``dtype`` (N, C)."""
        return _checks.labels(y, n, output_shape[0], dtype, name)

    def __call__(
        self,
        ops: ModuleType,
        output: Array,
        targets: Array,
        out: Array,
        weights: Array | None = None,
    ) -> tuple[float, Array]:
        """Return the mean loss and its gradient: (softmax - one_hot) / N with default settings."""
        settings: dict[str, Any] = {}
        if self.label_smoothing:
            settings["label_smoothing"] = self.label_smoothing
        if self.class_weight is not None:
            settings["class_weight"] = self.weights_of_classes(output.shape[1], output.dtype)
        if weights is not None:
            settings["sample_weight"] = weights
        result: tuple[float, Array] = ops.softmax_cross_entropy(
            output, targets, **settings, out=out
        )
        return result

    def total_weight(self, output: Array, targets: Array, weights: Array | None) -> float:
        """Return the sum over the samples of class weight times sample weight."""
        by_class = self.weights_of_classes(output.shape[1], output.dtype)
        if by_class is None:
            return super().total_weight(output, targets, weights)
        by_sample = by_class[targets] if targets.ndim == 1 else targets @ by_class
        return float(np.sum(by_sample if weights is None else by_sample * weights, dtype=float))

    def weights_of_classes(self, classes: int, dtype: npt.DTypeLike = float) -> Array | None:
        """Return the weights of all classes, (classes,), or None without class weights."""
        given = self.class_weight
        if not isinstance(given, dict):
            if given is not None and len(given) != classes:
                raise ValueError(
                    f"class_weight must have {classes} weights, one per class, got {len(given)}."
                )
            return None if given is None else np.array(given, dtype)
        weights = np.ones(classes, dtype)
        for label, weight in given.items():
            if label >= classes:
                raise ValueError(
                    f"class_weight must have keys from 0 to {classes - 1} (the model has "
                    f"{classes} outputs), got {label}."
                )
            weights[label] = weight
        return weights


class BinaryCrossEntropy(Loss):
    """Mean cross-entropy of sigmoid(output) and targets from 0 to 1, from raw outputs.

    ``loss = mean(log(1 + exp(z)) - z * t)``, over the outputs of each sample and then over the
    samples. One output distinguishes two classes, with targets (N,) or (N, 1). K outputs are K
    independent yes-or-no predictions (multi-label), with targets (N, K). A prediction is correct
    if ``z > 0`` and ``t > 1/2`` agree. Accuracy counts single predictions, not samples with all K
    correct. ``predict_proba`` returns the sigmoid of every output.

    Notes
    -----
    The same as PyTorch's ``BCEWithLogitsLoss`` and Keras's ``BinaryCrossentropy`` with
    ``from_logits=True``.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.Sequential([fm.Flatten()], input_shape=1)  # the outputs are the inputs
    >>> model.compile(loss="binary_cross_entropy")
    >>> model.evaluate([[2.0], [-3.0]], [1, 1])["accuracy"]
    0.5
    """

    name = "binary_cross_entropy"
    classifies = True

    def targets(self, y: Any, n: int, output_shape: Shape, dtype: DType, name: str = "y") -> Array:
        """Return the targets as ``dtype`` (N, *output_shape). One output also accepts (N,)."""
        return _checks.probabilities(y, n, output_shape, dtype, name)

    def __call__(
        self,
        ops: ModuleType,
        output: Array,
        targets: Array,
        out: Array,
        weights: Array | None = None,
    ) -> tuple[float, Array]:
        """Return the mean loss and (sigmoid - target) / size."""
        result: tuple[float, Array] = ops.binary_cross_entropy(
            output, targets, sample_weight=weights, out=out
        )
        return result

    def predictions_per_sample(self, output_shape: Shape) -> int:
        """Return the number of outputs."""
        return math.prod(output_shape)

    def count_correct(self, output: Array, targets: Array) -> Array:
        """Return the number of correct predictions of each sample, (N,)."""
        agree = (output > 0) == (targets > 0.5)
        correct: Array = np.count_nonzero(agree.reshape(len(output), -1), axis=1)
        return correct


class Hinge(Loss):
    """Mean of ``sum(max(0, score[j] - score[label] + margin))`` over all j except the label.

    The multi-class support vector machine of Weston and Watkins. Targets are integer labels (N,),
    or one-hot rows (N, C).

    Parameters
    ----------
    margin : float, default=1.0
        Margin by which the label's score should exceed the other scores, above 0.

    Raises
    ------
    ValueError, TypeError
        If the margin is not a finite number above 0.

    Notes
    -----
    With scores near 0 and C classes the loss is ``(C - 1) * margin``. PyTorch's
    ``MultiMarginLoss`` also divides by C. The gradient is 0 where a difference equals the margin.

    References
    ----------
    Weston and Watkins, Support vector machines for multi-class pattern recognition, 1999.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.Sequential([fm.Flatten()], input_shape=3)  # the outputs are the inputs
    >>> model.compile(loss=fm.Hinge(margin=1.0))
    >>> model.evaluate([[3.0, 2.5, 0.0]], [0])["loss"]
    0.5
    """

    name = "hinge"
    classifies = True

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__(margin=_checks.positive(margin, "margin"))

    @property
    def margin(self) -> float:
        """Margin by which the label's score should exceed the other scores."""
        margin: Any = self._settings["margin"]
        return float(margin)

    def check_output(self, output_shape: Shape) -> None:
        """Require outputs (C,) with C >= 2."""
        _check_scores(output_shape, self.name)

    def targets(self, y: Any, n: int, output_shape: Shape, dtype: DType, name: str = "y") -> Array:
        """Return labels as int64 (N,)."""
        return _checks.hard_labels(y, n, output_shape[0], dtype, name)

    def __call__(
        self,
        ops: ModuleType,
        output: Array,
        targets: Array,
        out: Array,
        weights: Array | None = None,
    ) -> tuple[float, Array]:
        """Return the mean loss and its gradient."""
        result: tuple[float, Array] = ops.hinge(
            output, targets, margin=self.margin, sample_weight=weights, out=out
        )
        return result

    def active_pieces(self, output: Array, targets: Array) -> Array | None:
        """Return which margins are violated."""
        picked = np.take_along_axis(output, targets[:, None], axis=1)
        violated: Array = output - picked + self.margin > 0
        return violated


def _check_scores(output_shape: Shape, name: str) -> None:
    # With one class, both losses are always 0.
    if len(output_shape) != 1 or output_shape[0] < 2:
        raise ValueError(
            f"{name} requires a model with one output per class and at least 2 classes, "
            f"got outputs of shape {output_shape}."
        )
