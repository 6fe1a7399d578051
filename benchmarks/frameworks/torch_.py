"""PyTorch, eager in either layout of images, or with the whole step compiled by torch.compile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from turns import measure

from frameworks.workloads import Conv, Skipped, Workload, threads, time_epochs

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}

torch.set_num_threads(threads())


def version() -> str:
    return f"torch {torch.__version__}"


class ChannelsFirst(nn.Module):
    """Views (N, H, W, C) as (N, C, H, W) without a copy: PyTorch's channels_last layout."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 3, 1, 2)


class Words(nn.Module):
    """The sum of the rows of a table for the words of each sample."""

    def __init__(self, table: np.ndarray) -> None:
        super().__init__()
        self.table = nn.Embedding.from_pretrained(torch.from_numpy(table), freeze=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.table(x).sum(1)


def model_of(workload: Workload, channels_last: bool = False) -> nn.Sequential:
    """Return the network; for images (N, C, H, W), or (N, H, W, C) if ``channels_last``."""
    weights = iter(workload.first_weights(channels_first=True))

    def given(module: nn.Module) -> nn.Module:
        weight, bias = map(torch.from_numpy, next(weights))
        with torch.no_grad():
            module.weight.copy_(weight.T if weight.ndim == 2 else weight)
            module.bias.copy_(bias)
        return module

    activation = ACTIVATIONS[workload.activation]
    layers: list[nn.Module] = [ChannelsFirst()] if channels_last else []
    for stage, before in zip(workload.stages, workload.shapes, strict=False):
        if isinstance(stage, Conv):
            padding = stage.size // 2 if stage.same else 0
            conv = nn.Conv2d(before[2], stage.filters, stage.size, padding=padding)
            layers += [given(conv), activation()]
        else:
            layers.append(nn.MaxPool2d(stage.size, stage.strides))
    if workload.image:
        layers.append(nn.Flatten())
    if workload.vocabulary:
        layers.append(Words(workload.first_table()))
    for inputs, outputs in workload.layers:
        layers += [given(nn.Linear(inputs, outputs)), activation()]
    model = nn.Sequential(*layers[:-1])
    return model.to(memory_format=torch.channels_last) if channels_last else model


def data_of(workload: Workload, channels_last: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = map(torch.from_numpy, workload.data())
    if workload.image and not channels_last:
        x = x.permute(0, 3, 1, 2).contiguous()
    return x, y


def eager_step(workload: Workload, model: nn.Sequential) -> Callable[..., torch.Tensor]:
    parameters = list(model.parameters())
    rate = workload.learning_rate

    def sgd(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        # Equal to torch.optim.SGD without its bookkeeping, which takes a quarter of a small step.
        loss = functional.cross_entropy(model(x), y)
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            torch._foreach_add_(parameters, gradients, alpha=-rate)
        return loss.detach()

    if workload.optimizer == "sgd":
        return sgd
    velocities = [torch.zeros_like(parameter) for parameter in parameters]

    def momentum(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        loss = functional.cross_entropy(model(x), y)
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            torch._foreach_mul_(velocities, workload.MOMENTUM)
            torch._foreach_add_(velocities, gradients)
            torch._foreach_add_(parameters, velocities, alpha=-rate)
        return loss.detach()

    if workload.optimizer == "momentum":
        return momentum
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
    channels_last: bool = False,
) -> dict[str, Any]:
    x, y = data_of(workload, channels_last)

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


def train_channels_last(workload: Workload, seconds: float) -> dict[str, Any]:
    step = eager_step(workload, model_of(workload, True))
    return time_training(workload, step, seconds, True)


def predict(workload: Workload, seconds: float, channels_last: bool = False) -> dict[str, Any]:
    x, _ = data_of(workload, channels_last)
    model = model_of(workload, channels_last).eval()
    size = 250 if workload.image else len(x)  # values between layers stay in cache

    def call() -> np.ndarray:
        with torch.inference_mode():
            parts = [model(part) for part in x.split(size)]
            return (torch.cat(parts) if len(parts) > 1 else parts[0]).numpy()

    return {"seconds": measure(call, seconds / 7), "check": call()[-1].tolist()}


def predict_channels_last(workload: Workload, seconds: float) -> dict[str, Any]:
    return predict(workload, seconds, True)


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
    last = workload.image is not None  # the faster layout
    model = model_of(workload, last)
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
    x, y = data_of(workload, last)
    try:
        with torch.no_grad():
            compiled(
                {name: value.clone() for name, value in parameters.items()},
                x[: workload.batch],
                y[: workload.batch],
            )
    except Exception as error:  # any failure of the compiler
        raise Skipped(f"torch.compile: {str(error).strip().splitlines()[0]}") from error
    with torch.no_grad():
        return time_training(workload, lambda x, y: compiled(parameters, x, y), seconds, last)
