"""PyTorch, eager or with the whole step compiled by torch.compile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from turns import measure

from frameworks.workloads import Skipped, Workload, threads, time_epochs

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}

torch.set_num_threads(threads())


def version() -> str:
    return f"torch {torch.__version__}"


def model_of(workload: Workload) -> nn.Sequential:
    layers: list[nn.Module] = []
    for weight, bias in workload.first_weights():
        linear = nn.Linear(*weight.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight.T))
            linear.bias.copy_(torch.from_numpy(bias))
        layers += [linear, ACTIVATIONS[workload.activation]()]
    return nn.Sequential(*layers[:-1])


def eager_step(workload: Workload, model: nn.Sequential) -> Callable[..., torch.Tensor]:
    parameters = list(model.parameters())
    rate = workload.learning_rate

    def sgd(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        # The same as torch.optim.SGD without its bookkeeping, a quarter of a small step.
        loss = functional.cross_entropy(model(x), y)
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            torch._foreach_add_(parameters, gradients, alpha=-rate)
        return loss.detach()

    if workload.optimizer == "sgd":
        return sgd
    optimizer = torch.optim.Adam(parameters, lr=rate, fused=True)

    def adam(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        loss = functional.cross_entropy(model(x), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return adam


def time_training(
    workload: Workload,
    step: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    seconds: float,
) -> dict[str, Any]:
    x, y = map(torch.from_numpy, workload.data())

    def epoch(order: np.ndarray | None) -> float:
        total = torch.zeros(())
        if order is None:
            for _ in range(workload.steps):
                total += step(x, y)
        else:
            for rows in torch.from_numpy(order):
                total += step(x.index_select(0, rows), y.index_select(0, rows))
        return total.item() / workload.steps

    return time_epochs(workload, epoch, seconds)


def train(workload: Workload, seconds: float) -> dict[str, Any]:
    return time_training(workload, eager_step(workload, model_of(workload)), seconds)


def predict(workload: Workload, seconds: float) -> dict[str, Any]:
    x, _ = workload.data()
    model = model_of(workload).eval()

    def call() -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(x)).numpy()

    return {"seconds": measure(call, seconds / 7), "check": call()[-1].tolist()}


def mnist(workload: Workload, path: str, epochs: int) -> dict[str, Any]:
    with np.load(path) as data:
        x, y, x_valid, y_valid, x_test, y_test = (torch.from_numpy(data[n]) for n in data.files)
    model = model_of(workload)
    step = eager_step(workload, model)

    def accuracy(inputs: torch.Tensor, labels: torch.Tensor) -> float:
        with torch.inference_mode():
            return (model(inputs).argmax(1) == labels).float().mean().item()

    began = time.perf_counter()
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(workload.batch):
            step(x.index_select(0, rows), y.index_select(0, rows))
        valid = accuracy(x_valid, y_valid)
    spent = time.perf_counter() - began
    return {"seconds": [spent], "valid": valid, "test": accuracy(x_test, y_test)}


def train_compiled(workload: Workload, seconds: float) -> dict[str, Any]:
    """Train with gradients and update in one compiled graph."""
    if workload.optimizer != "sgd":
        raise Skipped("only SGD is written for it")
    model = model_of(workload)
    parameters = {name: value.detach().clone() for name, value in model.named_parameters()}
    rate = workload.learning_rate

    def loss_of(values: dict[str, Any], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(torch.func.functional_call(model, values, (x,)), y)

    def step(values: dict[str, Any], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        gradients, loss = torch.func.grad_and_value(loss_of)(values, x, y)
        for name, value in values.items():
            value.sub_(gradients[name], alpha=rate)
        return loss

    compiled = torch.compile(step, fullgraph=True, dynamic=False)
    x, y = map(torch.from_numpy, workload.data())
    try:
        with torch.no_grad():
            compiled(
                {name: value.clone() for name, value in parameters.items()},
                x[: workload.batch],
                y[: workload.batch],
            )
    except Exception as error:  # whatever the compiler could not do is the reason
        raise Skipped(f"torch.compile: {str(error).strip().splitlines()[0]}") from error
    with torch.no_grad():
        return time_training(workload, lambda x, y: compiled(parameters, x, y), seconds)
