"""JAX: a whole epoch as one jitted scan, or one jitted call per step with convolutions."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from fastmlp._types import Array
from fastmlp.cli.frameworks.workloads import RATE, Workload, time_epochs

__all__ = ["train", "version"]

jax.config.update("jax_platforms", "cpu")


def version() -> str:
    """Return the name and version of the framework."""
    return f"jax {jax.__version__}"


def train(workload: Workload, seconds: float) -> dict[str, Any]:
    """Train, gathering the rows of each batch inside the compiled function."""
    x, y = map(jnp.asarray, workload.data())
    params: Any = jax.device_put(workload.weights())

    def loss_of(params: Any, x: Any, y: Any) -> Any:
        left = list(params)
        for conv in workload.convs:
            weight, bias = left.pop(0)
            names = ("NHWC", "HWIO", "NHWC")
            x = jax.lax.conv_general_dilated(x, weight, (1, 1), "VALID", dimension_numbers=names)
            window = (1, conv.pool, conv.pool, 1)
            x = jax.nn.relu(x + bias)
            x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")
        x = x.reshape(len(x), -1)
        for weight, bias in left[:-1]:
            x = jax.nn.relu(x @ weight + bias)
        weight, bias = left[-1]
        log_p = jax.nn.log_softmax(x @ weight + bias)
        return -(log_p * jax.nn.one_hot(y, workload.sizes[-1])).sum() / len(y)

    def step(params: Any, rows: Any, x: Any, y: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(params, x[rows], y[rows])
        return jax.tree.map(lambda p, g: p - RATE * g, params, gradients), loss

    @functools.partial(jax.jit, donate_argnums=0)
    def scan(params: Any, order: Any, x: Any, y: Any) -> Any:
        params, losses = jax.lax.scan(lambda p, rows: step(p, rows, x, y), params, order)
        return params, losses.mean()

    single = jax.jit(step, donate_argnums=0)

    def epoch(order: Array) -> float:
        nonlocal params
        if workload.convs:  # XLA's convolutions are many times slower inside a scan
            total = jnp.zeros(())
            for rows in order:
                params, loss = single(params, rows, x, y)
                total = total + loss
            return float(total) / workload.steps
        params, loss = scan(params, order, x, y)
        jax.block_until_ready(params)
        return float(loss)

    return time_epochs(workload, epoch, seconds)
