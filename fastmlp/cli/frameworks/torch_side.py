"""PyTorch in eager mode, with as few calls as possible; images have channels last."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from fastmlp._types import Array
from fastmlp.cli.frameworks.workloads import RATE, Workload, threads, time_epochs

__all__ = ["train", "version"]


def version() -> str:
    """Return the name and version of the framework."""
    return f"torch {torch.__version__}"


def train(workload: Workload, seconds: float) -> dict[str, Any]:
    """Train with a loop over batches."""
    torch.set_num_threads(threads())
    x, y = map(torch.from_numpy, workload.data())
    parameters = []
    for weight, bias in workload.weights():
        given = torch.from_numpy(weight)
        if weight.ndim == 4:
            filters = given.permute(3, 2, 0, 1)
            given = filters.contiguous(memory_format=torch.channels_last)
        parameters += [given.requires_grad_(), torch.from_numpy(bias).requires_grad_()]

    def forward(x: Any) -> Any:
        left = iter(parameters)
        if workload.image:
            x = x.permute(0, 3, 1, 2)  # a view: PyTorch's channels_last layout
            for conv, weight, bias in zip(workload.convs, left, left, strict=False):
                x = functional.max_pool2d(functional.conv2d(x, weight, bias).relu(), conv.pool)
            x = x.permute(0, 2, 3, 1).flatten(1)
        pairs = list(zip(left, left, strict=True))
        for weight, bias in pairs[:-1]:
            x = torch.addmm(bias, x, weight).relu()
        weight, bias = pairs[-1]
        return torch.addmm(bias, x, weight)

    def epoch(order: Array) -> float:
        total = torch.zeros(())
        for rows in torch.from_numpy(order):
            loss = functional.cross_entropy(
                forward(x.index_select(0, rows)), y.index_select(0, rows)
            )
            gradients = torch.autograd.grad(loss, parameters)
            with torch.no_grad():
                torch._foreach_add_(parameters, gradients, alpha=-RATE)
            total += loss.detach()
        return float(total) / workload.steps

    return time_epochs(workload, epoch, seconds)
