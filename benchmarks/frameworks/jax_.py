"""JAX: a jitted step, or a whole epoch as one jitted scan that gathers its rows."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from turns import measure

from frameworks.workloads import Conv, Skipped, Workload, time_epochs

# Parameters, and their velocities if there is momentum.
State = tuple[Any, Any]

ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid}

jax.config.update("jax_platforms", "cpu")


def version() -> str:
    return f"jax {jax.__version__}"


def convolve(x: jax.Array, weight: jax.Array, same: bool, patches: bool) -> jax.Array:
    """Return the convolution of images (N, H, W, C).

    XLA's convolution is 10 times slower inside a scan. A product with ``patches`` is not, and it is
    also faster in prediction.
    """
    if not patches:
        names = ("NHWC", "HWIO", "NHWC")
        padding = "SAME" if same else "VALID"
        return jax.lax.conv_general_dilated(x, weight, (1, 1), padding, dimension_numbers=names)
    size, filters = weight.shape[0], weight.shape[-1]
    if same:
        around = (size // 2, size // 2)
        x = jnp.pad(x, ((0, 0), around, around, (0, 0)))
    height, width = (side - size + 1 for side in x.shape[1:3])
    places = [(i, j) for i in range(size) for j in range(size)]
    rows = jnp.concatenate([x[:, i : i + height, j : j + width] for i, j in places], -1)
    return rows @ weight.reshape(-1, filters)


def largest(x: jax.Array, size: int, strides: int, patches: bool) -> jax.Array:
    """Return the maxima of windows, computed so that the gradient is fast."""
    if patches or size > strides:
        window, steps = (1, size, size, 1), (1, strides, strides, 1)
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, steps, "VALID")
    height, width = ((side - size) // strides * strides + 1 for side in x.shape[1:3])
    places = [(i, j) for i in range(size) for j in range(size)]
    parts = [x[:, i : i + height : strides, j : j + width : strides] for i, j in places]
    return functools.reduce(jnp.maximum, parts)


def forward(workload: Workload, params: Any, x: jax.Array, patches: bool = False) -> jax.Array:
    activation, layers = ACTIVATIONS[workload.activation], iter(params)
    for stage in workload.stages:
        if isinstance(stage, Conv):
            weight, bias = next(layers)
            x = activation(convolve(x, weight, stage.same, patches) + bias)
        else:
            x = largest(x, stage.size, stage.strides, patches)
    if workload.image:
        x = x.reshape(len(x), -1)
    if workload.vocabulary:
        x = next(layers).at[x].get(mode="promise_in_bounds").sum(axis=1)
    *hidden, (w, b) = layers
    for weight, bias in hidden:
        x = activation(x @ weight + bias)
    return x @ w + b


def update(
    workload: Workload,
    state: State,
    x: jax.Array,
    y: jax.Array,
    rows: jax.Array | None,
    patches: bool = False,
) -> tuple[State, jax.Array]:
    """Return the parameters after a step on ``rows``, and the mean loss before it."""
    if rows is not None:
        x = x.at[rows].get(mode="promise_in_bounds", unique_indices=True)
        y = y.at[rows].get(mode="promise_in_bounds", unique_indices=True)

    def loss_of(params: Any) -> jax.Array:
        log_p = jax.nn.log_softmax(forward(workload, params, x, patches))
        # A product with one-hot rows has a cheaper gradient than an indexed read.
        return -(log_p * jax.nn.one_hot(y, workload.sizes[-1])).sum() / len(y)

    params, steps = state
    loss, steps_of = jax.value_and_grad(loss_of)(params)
    rate = workload.learning_rate
    if workload.optimizer == "momentum":
        steps_of = jax.tree.map(lambda v, g: workload.MOMENTUM * v + g, steps, steps_of)
        steps = steps_of
    return (jax.tree.map(lambda p, g: p - rate * g, params, steps_of), steps), loss


def _start(workload: Workload) -> tuple[State, jax.Array, jax.Array]:
    if workload.optimizer not in ("sgd", "momentum"):
        raise Skipped("only SGD is written for it")
    x, y = workload.data()
    params: list[Any] = list(workload.first_weights())
    if workload.vocabulary:
        params, x = [workload.first_table(), *params], x.astype(np.int32)
    params = jax.device_put(params)
    velocity = jax.tree.map(jnp.zeros_like, params) if workload.optimizer == "momentum" else None
    return (params, velocity), jnp.asarray(x), jnp.asarray(y, jnp.int32)


def train_step(workload: Workload, seconds: float) -> dict[str, Any]:
    """Train with one call per step."""
    state, x, y = _start(workload)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(
        state: State, total: jax.Array, x: jax.Array, y: jax.Array, rows: Any
    ) -> tuple[State, jax.Array]:
        state, loss = update(workload, state, x, y, rows)
        return state, total + loss

    def epoch(order: np.ndarray | None) -> float:
        nonlocal state
        total = jnp.zeros(())
        if order is None:
            for _ in range(workload.steps):
                state, total = step(state, total, x, y, None)
        else:
            for rows in order.astype(np.int32):
                state, total = step(state, total, x, y, rows)
        return float(total) / workload.steps

    return time_epochs(workload, epoch, seconds)


def train_scan(workload: Workload, seconds: float) -> dict[str, Any]:
    """Train with one call per epoch."""
    state, x, y = _start(workload)

    @functools.partial(jax.jit, donate_argnums=0)
    def run(state: State, x: jax.Array, y: jax.Array, order: Any) -> tuple[State, jax.Array]:
        def body(state: State, rows: Any) -> tuple[State, jax.Array]:
            return update(workload, state, x, y, rows, True)

        state, losses = jax.lax.scan(body, state, order, length=workload.steps)
        return state, losses.mean()

    def epoch(order: np.ndarray | None) -> float:
        nonlocal state
        state, loss = run(state, x, y, None if order is None else order.astype(np.int32))
        jax.block_until_ready(state)
        return float(loss)

    return time_epochs(workload, epoch, seconds)


def predict(workload: Workload, seconds: float) -> dict[str, Any]:
    x, _ = workload.data()
    params = jax.device_put(workload.first_weights())
    jitted = jax.jit(functools.partial(forward, workload, patches=True))
    size = min(100, workload.rows) if workload.image else workload.rows  # as in numpy_.py

    def call() -> np.ndarray:
        parts = [jitted(params, x[start : start + size]) for start in range(0, len(x), size)]
        return np.concatenate(parts) if len(parts) > 1 else np.asarray(parts[0])

    return {"seconds": measure(call, seconds / 7), "check": call()[-1].tolist()}
