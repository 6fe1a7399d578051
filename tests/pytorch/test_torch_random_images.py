"""300 random networks for images against PyTorch: loss and gradients; skipped without torch."""

from __future__ import annotations

import numpy as np
import pytest
from random_networks import draw_images

import fastmlp as fm

torch = pytest.importorskip("torch")
from torch_activations import ACTIVATIONS  # noqa: E402 - it needs torch

F = torch.nn.functional


def channels_first(x):
    return x.permute(0, 3, 1, 2)


def channels_last(x):
    return x.permute(0, 2, 3, 1)


def forward(model, parameters, x):
    """The model in PyTorch's functions; values between layers have channels last, as ours."""
    for layer in model.layers:
        weight = parameters.get(layer.name + ".weight")
        bias = parameters.get(layer.name + ".bias")
        if isinstance(layer, fm.Conv2D):
            w = layer.window
            padded = F.pad(channels_first(x), (w.pad_left, w.pad_right, w.pad_top, w.pad_bottom))
            strides = (w.stride_y, w.stride_x)
            filters = weight.permute(3, 2, 0, 1).contiguous()
            x = channels_last(F.conv2d(padded, filters, bias, strides))
            x = ACTIVATIONS[layer.activation.name](x)
        elif isinstance(layer, (fm.MaxPool2D, fm.AvgPool2D)):
            w = layer.window
            pool = F.max_pool2d if isinstance(layer, fm.MaxPool2D) else F.avg_pool2d
            size, strides = (w.kernel_height, w.kernel_width), (w.stride_y, w.stride_x)
            x = channels_last(pool(channels_first(x), size, strides))
        elif isinstance(layer, fm.GlobalAvgPool2D):
            x = x.mean((1, 2))
        elif isinstance(layer, fm.Flatten):
            x = x.reshape(len(x), -1)
        elif isinstance(layer, fm.Dense):
            z = x @ weight
            x = ACTIVATIONS[layer.activation.name](z if bias is None else z + bias)
        else:
            x = ACTIVATIONS[layer.activation.name](x)
    return x


@pytest.mark.parametrize("first", range(0, 300, 50))
def test_loss_and_gradients(first):
    for seed in range(first, first + 50):
        case = draw_images(seed)
        model = case.build("float64", "kernels")
        for layer in model.layers:
            layer.l1 = layer.l2 = 0.0
        loss, gradients = model.gradients(case.x, case.y, case.loss)
        parameters = {
            name: torch.tensor(np.array(value), requires_grad=True)
            for name, value in model.parameters.items()
        }
        x = torch.tensor(np.asarray(case.x, dtype=float) * case.scale)
        expected = F.cross_entropy(forward(model, parameters, x), torch.tensor(case.y))
        expected.backward()
        assert loss == pytest.approx(expected.item(), rel=1e-10), case
        for name, parameter in parameters.items():
            wanted = parameter.grad.numpy()
            error = np.abs(gradients[name] - wanted).max()
            assert error <= 1e-10 * max(np.abs(wanted).max(), 1e-6), (case, name, error)
