"""Fusion changes or overwrites a value only if a single layer reads it (Value.uses)."""

import numpy as np
import pytest

import fastmlp as fm

pytest.importorskip(
    "fastmlp.kernels", reason="compiled modules are not built", exc_type=ImportError
)

from fastmlp._plan import activations, compiler, losses, samples
from fastmlp._plan.builder import Builder
from fastmlp._plan.operation import Gradient, Operation
from fastmlp.layers.base import Training

ROWS = 32
KINDS = "dense", "activation", "dropout", "gaussian_noise", "max_pool", "scale_shift"


def built(layers, input_shape=(40,), *, trains=True):
    """A builder and the network whose layers are to be added to it."""
    network = fm.Sequential(layers, input_shape=input_shape)
    training = Training(0) if trains else None
    return Builder(network.dtype, ROWS, 1, training=training), network


def add(builder, layer, x):
    return compiler._LAYER_RULES[type(layer)].forward(builder, layer, x)


def kinds(builder):
    return [operation.kind for operation in builder.operations if operation.kind in KINDS]


@pytest.mark.parametrize(
    ("layers", "input_shape", "trains", "fused", "apart"),
    [
        ([fm.Dense(48), fm.Activation("relu")], (40,), True, ["dense"], ["dense", "activation"]),
        ([fm.Dense(48), fm.Dropout(0.5)], (40,), True, ["dense"], ["dense", "dropout"]),
        ([fm.Dense(48), fm.BatchNorm()], (40,), False, ["dense"], ["dense", "scale_shift"]),
        ([fm.Conv2D(4, 3), fm.MaxPool2D(2)], (8, 8, 1), True, [], ["max_pool"]),
    ],
    ids=["activation", "dropout", "folded-batchnorm", "max-pool"],
)
@pytest.mark.parametrize("uses", [1, 2])
def test_a_producer_is_changed_for_its_only_reader(layers, input_shape, trains, fused, apart, uses):
    # Layers belong to one network, so each case makes them again.
    layers = [type(each)(**each.config()) for each in layers]
    builder, network = built(layers, input_shape, trains=trains)
    x = samples.gather(builder, int(np.prod(input_shape)), False, 1.0)
    y = add(builder, network.layers[0], x)
    producer, buffer = y.producer, y.buffer
    before = dict(producer.arguments), list(producer.fused)
    y.uses = uses
    z = add(builder, network.layers[1], y)
    assert kinds(builder) == (fused if uses == 1 else apart)
    if uses == 2:
        assert (producer.arguments, producer.fused) == before
        assert y.buffer is buffer and z.buffer is not buffer


@pytest.mark.parametrize("uses", [1, 2])
@pytest.mark.parametrize("layer", [fm.Activation("relu"), fm.GaussianNoise(0.5)], ids=repr)
def test_a_buffer_is_overwritten_by_its_only_reader(layer, uses):
    layer = type(layer)(**layer.config())
    builder, network = built([layer])
    x = samples.gather(builder, 40, False, 1.0)
    x.uses = uses
    assert (add(builder, network.layers[0], x).buffer is x.buffer) == (uses == 1)


@pytest.mark.parametrize("uses", [1, 2])
def test_standardization_joins_the_copy_of_the_batch_for_its_only_reader(uses):
    builder, network = built([fm.Standardize(), fm.Dense(3)])
    x = samples.gather(builder, 40, False, 1.0)
    x.uses = uses
    y = add(builder, network.layers[0], x)
    assert kinds(builder) == ([] if uses == 1 else ["scale_shift"])
    assert (y.buffer is x.buffer) == (uses == 1)


@pytest.mark.parametrize("uses", [1, 2])
def test_the_gradient_of_the_loss_overwrites_outputs_with_one_reader(uses):
    builder, network = built([fm.Dense(48)])
    y = add(builder, network.layers[0], samples.gather(builder, 40, False, 1.0))
    y.uses = uses
    loss = fm.MeanSquaredError()
    gradient = losses.LOSS_RULES[fm.MeanSquaredError](builder, loss, y, gradient=True)
    assert (gradient.buffer is y.buffer) == (uses == 1)


@pytest.mark.parametrize("uses", [1, 2])
def test_a_derivative_waits_for_the_sum_of_several_gradients(uses):
    builder, network = built([fm.Dense(48, activation="tanh"), fm.Dense(40)])
    y = add(builder, network.layers[0], samples.gather(builder, 40, False, 1.0))
    add(builder, network.layers[1], y)
    y.uses, y.deep = uses, True
    rule = compiler._LAYER_RULES[fm.Dense]
    dy = Gradient(builder.buffer("dy", 40), True)
    dx = rule.backward(builder, network.layers[1], y, None, dy, True)
    backward = next(o for o in builder.operations if o.kind == "dense_backward")
    assert dx.derived == (uses == 1)
    assert ("tanh'" in backward.fused) == (uses == 1)
    assert (dx.transposed is not None) == (uses == 1)


def test_fuse_derivative_says_what_it_did():
    operation = Operation("dense_backward", "", "", 0, 0, 0, True)
    builder, network = built([fm.Dense(48, activation="relu")])
    y = add(builder, network.layers[0], samples.gather(builder, 40, False, 1.0))
    y.uses = 2
    assert not activations.fuse_derivative(operation, y)
    assert not operation.arguments
    y.uses = 1
    assert activations.fuse_derivative(operation, y)
    assert operation.arguments["saved"] is y.saved
