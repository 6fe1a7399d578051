"""The operations of both backends as functions, gradient checks and splits of data."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np

import fastmlp as fm
from fingerprinted.data import pictures, points
from fingerprinted.recording import Array, Parts, digest, make, run
from fingerprinted.settings import SHAPES

UNARY = ("exp", "relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "tanh", "sigmoid")
ROWS = ("softmax", "log_softmax")
FROM_INPUT = ("gelu", "silu", "softplus")  # their derivatives take x, the others y


def elementwise(ops: ModuleType, x: Array, dy: Array) -> Iterator[tuple[str, Any]]:
    """Yield the results of functions of arrays of one shape."""
    yield "log", ops.log(np.abs(x) + 0.1)
    yield "clip_by_value", ops.clip_by_value(x, 0.5)
    for name in (*UNARY, *ROWS):
        y = getattr(ops, name)(x)
        yield name, y
        if name != "exp":
            given = x if name in FROM_INPUT else y
            yield f"{name}_backward", getattr(ops, f"{name}_backward")(dy, given)
    yield "elu, alpha", ops.elu(x, alpha=0.3)
    yield "leaky_relu, slope", ops.leaky_relu(x, negative_slope=0.2)
    settings = {"seed": 5, "layer": 2, "step": 7}
    yield "dropout", ops.dropout(x, 0.3, **settings)
    yield "dropout_backward", ops.dropout_backward(dy, 0.3, **settings)
    yield "gaussian_noise", ops.gaussian_noise(x, 0.3, **settings)


def products(ops: ModuleType, x: Array, dy: Array) -> Iterator[tuple[str, Any]]:
    """Yield the results of products and sums of x (n, i) and dy (n, o)."""
    w, b = np.cos(np.arange(x.shape[1] * dy.shape[1])).reshape(x.shape[1], -1), dy[0]
    w = w.astype(x.dtype)
    yield "matmul", ops.matmul(x, w, alpha=0.7)
    yield "matmul, a transposed", ops.matmul(x, dy, transpose_a=True)
    yield "matmul, b transposed", ops.matmul(dy, w, transpose_b=True)
    out = np.ones_like(w)
    yield "matmul, added", ops.matmul(x, dy, transpose_a=True, out=out, accumulate=True)
    yield "dense", ops.dense(x, w, b)
    yield "dense, relu", ops.dense(x, w, relu=True)
    yield "add_bias", ops.add_bias(dy, b)
    yield "sum_batch", ops.sum_batch(dy)
    yield "weight_penalty", ops.weight_penalty(w, l1=0.1, l2=0.2)
    ops.weight_penalty_backward(out, w, l1=0.1, l2=0.2)
    clipped = [out, dy.copy()]
    yield "clip_by_norm", [ops.clip_by_norm(clipped, 0.5), *clipped]


def losses(ops: ModuleType, x: Array, y: Array) -> Iterator[tuple[str, Any]]:
    """Yield the losses of outputs x and targets y (n, o), and their gradients."""
    labels, each = np.arange(len(x)) % x.shape[1], np.linspace(0, 2, len(x))
    of_classes = np.linspace(0.5, 1, x.shape[1])
    for weights in (None, each):
        end = "" if weights is None else ", weighted"
        given = {"sample_weight": weights}
        yield "mse" + end, ops.mse(x, y, **given)
        yield "mae" + end, ops.mae(x, y, **given)
        yield "huber" + end, ops.huber(x, y, delta=0.6, **given)
        yield "hinge" + end, ops.hinge(x, labels, margin=0.9, **given)
        inside = 1 / (1 + np.exp(-y))
        yield "binary_cross_entropy" + end, ops.binary_cross_entropy(x, inside, **given)
        given |= {"label_smoothing": 0.1, "class_weight": of_classes}
        yield "softmax_cross_entropy, smoothed" + end, ops.softmax_cross_entropy(x, labels, **given)
    yield "softmax_cross_entropy", ops.softmax_cross_entropy(x, labels)
    yield "count_correct", ops.count_correct(x, labels)


def normalizations(ops: ModuleType, x: Array, dy: Array) -> Iterator[tuple[str, Any]]:
    """Yield the results of normalizing x, and of embeddings."""
    gamma = np.linspace(0.5, 1.5, x.shape[1]).astype(x.dtype)
    beta = np.linspace(-1, 1, x.shape[1]).astype(x.dtype)
    y, mean, variance = ops.batch_norm(x, gamma, beta)
    yield "batch_norm", [y, mean, variance]
    yield "batch_norm_backward", ops.batch_norm_backward(dy, x, gamma, mean, variance)
    moments = (mean.astype(x.dtype), variance.astype(x.dtype))
    yield "batch_norm_inference", ops.batch_norm_inference(x, gamma, beta, *moments)
    yield "layer_norm", ops.layer_norm(x, gamma, beta, epsilon=0.01)
    yield "layer_norm_backward", ops.layer_norm_backward(dy, x, gamma, epsilon=0.01)
    rows = (np.arange(12).reshape(4, 3) * 5) % len(x)
    for combine in ("sum", "concat", None):
        found = ops.embedding(rows, x, combine=combine)
        yield f"embedding {combine}", found
        gradient = ops.embedding_backward(found, rows, len(x), combine=combine)
        yield f"embedding_backward {combine}", gradient


def updates(ops: ModuleType, x: Array, dy: Array) -> Iterator[tuple[str, Any]]:
    """Yield arrays after two steps with each update rule."""
    kinds: dict[str, Callable[[Array, list[Array], int], None]] = {
        "sgd": lambda w, s, t: ops.sgd_update(w, dy, 0.1, weight_decay=0.01),
        "momentum": lambda w, s, t: ops.sgd_update(w, dy, 0.1, velocity=s[0], momentum=0.9),
        "nesterov": lambda w, s, t: ops.sgd_update(
            w, dy, 0.1, velocity=s[0], momentum=0.9, nesterov=True, weight_decay=0.1
        ),
        "adagrad": lambda w, s, t: ops.adagrad_update(w, dy, s[0], 0.1, weight_decay=0.01),
        "rmsprop": lambda w, s, t: ops.rmsprop_update(w, dy, s[0], 0.1, rho=0.8),
        "adam": lambda w, s, t: ops.adam_update(w, dy, *s, t, 0.1, weight_decay=0.01),
        "adamw": lambda w, s, t: ops.adam_update(
            w, dy, *s, t, 0.1, weight_decay=0.01, decoupled=True
        ),
    }
    for name, update in kinds.items():
        weight, state = x.copy(), [np.zeros_like(x), np.zeros_like(x)]
        for step in (1, 2):
            update(weight, state, step)
        yield name, [weight, *state]


def images(ops: ModuleType, x: Array) -> Iterator[tuple[str, Any]]:
    """Yield the results of convolutions and pools of x (n, h, w, c)."""
    w = np.sin(np.arange(3 * 2 * x.shape[3] * 5)).reshape(3, 2, x.shape[3], 5).astype(x.dtype)
    b, size = np.linspace(0, 1, 5).astype(x.dtype), x.shape[1:3]
    loops = ("", "_loops") if hasattr(ops, "conv2d_loops") else ("",)
    for end in loops:
        call = {
            name: getattr(ops, name + end)
            for name in (
                *("conv2d", "conv2d_backward_input", "conv2d_backward_weights"),
                *("max_pool2d", "max_pool2d_backward", "avg_pool2d", "avg_pool2d_backward"),
                *("global_avg_pool2d", "global_avg_pool2d_backward"),
            )
        }
        for strides, padding in ((1, "valid"), (1, "same"), ((2, 1), "same"), (3, "valid")):
            how = {"strides": strides, "padding": padding}
            y = call["conv2d"](x, w, b, **how)
            yield f"conv2d {how}{end}", y
            yield (
                f"backward {how}{end}",
                [
                    call["conv2d_backward_input"](y, w, size, **how),
                    call["conv2d_backward_weights"](x, y, (3, 2), **how),
                ],
            )
        for pool, strides in ((2, None), ((3, 2), 1)):
            y, index = call["max_pool2d"](x, pool, strides=strides)
            back = call["max_pool2d_backward"](y, index, size, pool, strides=strides)
            yield f"max_pool2d {pool}{end}", [y, index, back]
            y = call["avg_pool2d"](x, pool, strides=strides)
            back = call["avg_pool2d_backward"](y, size, pool, strides=strides)
            yield f"avg_pool2d {pool}{end}", [y, back]
        y = call["global_avg_pool2d"](x)
        yield f"global_avg_pool2d{end}", [y, call["global_avg_pool2d_backward"](y, size)]


def register() -> None:
    """Register the functions, on arrays of two types and two layouts, and the rest."""
    for backend in ("kernels", "reference"):
        for dtype in ("float32", "float64"):
            for layout in ("rows", "strided"):

                @run(f"operations of {backend}, {dtype}, {layout}")
                def _(backend: str = backend, dtype: str = dtype, layout: str = layout) -> Parts:
                    ops = importlib.import_module(f"fastmlp.{backend}")
                    rng = np.random.default_rng(8)
                    step = 2 if layout == "strided" else 1

                    def draw(*shape: int) -> Array:
                        whole = rng.standard_normal((*shape[:-1], step * shape[-1]))
                        return (2 * whole).astype(dtype)[..., ::step]

                    x, other = draw(37, 19), draw(37, 19)
                    found = {
                        **dict(elementwise(ops, x, other)),
                        **dict(products(ops, x, draw(37, 23))),
                        **dict(losses(ops, x, other)),
                        **dict(normalizations(ops, x, other)),
                        **dict(images(ops, draw(2, 6, 7, 2))),
                    }
                    if layout == "rows":  # updates change their arrays in place
                        found |= dict(updates(ops, x, other))
                    return {name: digest(value) for name, value in found.items()}

    for kind, (layers, features, _) in SHAPES.items():

        @run(f"gradcheck {kind}")
        def _(layers: Any = layers, features: int = features) -> Parts:
            x, y = points(features)
            model = make(layers(), x, dtype="float64")
            checked = fm.gradcheck(model, x[:4], y[:4])
            curve = fm.gradcheck(model, x[:4], y[:4], layer=1, n=[10.0, 1000.0], count=5)
            elements = [tuple(each) for each in curve.elements]
            return {
                "all": digest(checked.errors, checked.checked, checked.kinks),
                "curve": digest(curve.n, curve.errors, elements),
            }

    @run("train_test_split")
    def _() -> Parts:
        x, y = pictures(4, 4, 1)
        return {
            str(stratify): digest(*map(list, fm.train_test_split(x, y, 0.3, stratify, seed=5)))
            for stratify in (False, True)
        }
