"""JAX: a jitted step, or a whole epoch as one jitted scan that gathers its rows inside."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from turns import measure

from frameworks.workloads import Skipped, Workload, time_epochs

ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid}

jax.config.update("jax_platforms", "cpu")


def version() -> str:
    return f"jax {jax.__version__}"


def forward(activation: str, params: Any, x: jax.Array) -> jax.Array:
    *hidden, (w, b) = params
    for weight, bias in hidden:
        x = ACTIVATIONS[activation](x @ weight + bias)
    return x @ w + b


def update(
    workload: Workload, params: Any, x: jax.Array, y: jax.Array, rows: jax.Array | None
) -> tuple[Any, jax.Array]:
    """Return the parameters after a step on ``rows``, and the mean loss before."""
    if rows is not None:
        x = x.at[rows].get(mode="promise_in_bounds", unique_indices=True)
        y = y.at[rows].get(mode="promise_in_bounds", unique_indices=True)

    def loss_of(params: Any) -> jax.Array:
        log_p = jax.nn.log_softmax(forward(workload.activation, params, x))
        # A product with one-hot rows has a cheaper gradient than an indexed read.
        return -(log_p * jax.nn.one_hot(y, workload.sizes[-1])).sum() / len(y)

    loss, gradients = jax.value_and_grad(loss_of)(params)
    rate = workload.learning_rate
    return jax.tree.map(lambda p, g: p - rate * g, params, gradients), loss


def _start(workload: Workload) -> tuple[Any, jax.Array, jax.Array]:
    if workload.optimizer != "sgd":
        raise Skipped("only SGD is written for it")
    x, y = workload.data()
    return jax.device_put(workload.first_weights()), jnp.asarray(x), jnp.asarray(y, jnp.int32)


def train_step(workload: Workload, seconds: float) -> dict[str, Any]:
    """Train with one call a step."""
    params, x, y = _start(workload)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(
        params: Any, total: jax.Array, x: jax.Array, y: jax.Array, rows: Any
    ) -> tuple[Any, jax.Array]:
        params, loss = update(workload, params, x, y, rows)
        return params, total + loss

    def epoch(order: np.ndarray | None) -> float:
        nonlocal params
        total = jnp.zeros(())
        if order is None:
            for _ in range(workload.steps):
                params, total = step(params, total, x, y, None)
        else:
            for rows in order.astype(np.int32):
                params, total = step(params, total, x, y, rows)
        return float(total) / workload.steps

    return time_epochs(workload, epoch, seconds)


def train_scan(workload: Workload, seconds: float) -> dict[str, Any]:
    """Train with one call an epoch."""
    params, x, y = _start(workload)

    @functools.partial(jax.jit, donate_argnums=0)
    def run(params: Any, x: jax.Array, y: jax.Array, order: Any) -> tuple[Any, jax.Array]:
        def body(params: Any, rows: Any) -> tuple[Any, jax.Array]:
            return update(workload, params, x, y, rows)

        params, losses = jax.lax.scan(body, params, order, length=workload.steps)
        return params, losses.mean()

    def epoch(order: np.ndarray | None) -> float:
        nonlocal params
        params, loss = run(params, x, y, None if order is None else order.astype(np.int32))
        jax.block_until_ready(params)
        return float(loss)

    return time_epochs(workload, epoch, seconds)


def predict(workload: Workload, seconds: float) -> dict[str, Any]:
    x, _ = workload.data()
    params = jax.device_put(workload.first_weights())
    jitted = jax.jit(functools.partial(forward, workload.activation))

    def call() -> np.ndarray:
        return np.asarray(jitted(params, x))

    return {"seconds": measure(call, seconds / 7), "check": call()[-1].tolist()}
