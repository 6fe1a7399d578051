"""Weights and images in the order of PyTorch and Keras; PyTorch itself is in tests/pytorch."""

from __future__ import annotations

import re

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import layouts


def counted(*shape):
    return np.arange(float(np.prod(shape))).reshape(shape)


def test_every_element_goes_to_its_place_and_back():
    x, w = counted(2, 3, 4, 5), counted(6, 3, 2, 1)
    images, filters = layouts.images_from_torch(x), layouts.filters_from_torch(w)
    assert images.shape == (2, 4, 5, 3)
    assert images[1, 2, 4, 0] == x[1, 0, 2, 4]
    assert filters.shape == (2, 1, 3, 6)
    assert filters[1, 0, 2, 5] == w[5, 2, 1, 0]
    np.testing.assert_array_equal(layouts.images_to_torch(images), x)
    np.testing.assert_array_equal(layouts.filters_to_torch(filters), w)
    for array in (images, filters, layouts.images_to_torch(images)):
        assert array.flags.c_contiguous
    assert layouts.images_from_torch(x.astype(np.uint8)).dtype == np.uint8


def test_rows_of_a_dense_weight_follow_the_flattened_image():
    image = counted(4, 5, 3)
    weight = np.random.default_rng(0).standard_normal((7, 60))  # PyTorch's
    ours = layouts.dense_from_torch(weight, (4, 5, 3))
    planes = image.transpose(2, 0, 1).ravel()
    np.testing.assert_allclose(image.ravel() @ ours, weight @ planes)
    np.testing.assert_array_equal(layouts.dense_to_torch(ours, (4, 5, 3)), weight)
    np.testing.assert_array_equal(layouts.dense_from_torch(weight), weight.T)
    np.testing.assert_array_equal(layouts.dense_to_torch(weight.T), weight)
    assert ours.flags.c_contiguous


def network():
    layers = [
        fm.Conv2D(4, 3),
        fm.Activation("relu"),
        fm.MaxPool2D(2),
        fm.Flatten(),
        fm.Activation("tanh"),
        fm.Dense(5, use_bias=False),
        fm.Dense(2),
    ]
    return fm.Sequential(layers, input_shape=(8, 10, 3))


def state():
    """Return what a PyTorch module of the same layers has."""
    shapes = {"0.weight": (4, 3, 3, 3), "0.bias": (4,), "4.weight": (5, 48)}
    shapes |= {"5.weight": (2, 5), "5.bias": (2,)}
    return {name: counted(*shape) for name, shape in shapes.items()}


def test_a_state_dict_becomes_parameters_and_back():
    model = network()
    theirs = state()
    parameters = layouts.from_torch(model, theirs)
    assert {name: value.shape for name, value in parameters.items()} == model.parameter_shapes
    np.testing.assert_array_equal(
        parameters["dense_0.weight"], layouts.dense_from_torch(theirs["4.weight"], (3, 4, 4))
    )
    np.testing.assert_array_equal(parameters["dense_1.weight"], theirs["5.weight"].T)
    model.set_parameters(parameters)
    back = layouts.to_torch(model, theirs)
    assert list(back) == list(theirs)
    for name, value in back.items():
        np.testing.assert_array_equal(value, theirs[name])
    # Nothing of it is the model's or the module's own memory.
    for value in (*parameters.values(), *back.values()):
        value[...] = -1
    np.testing.assert_array_equal(theirs["5.bias"], [0, 1])
    np.testing.assert_array_equal(model.parameters["dense_1.bias"], [0, 1])


def test_a_tensor_is_anything_that_gives_an_array():
    class Tensor:
        def __init__(self, value, steps=("detach", "cpu", "numpy")):
            self.value, self.steps = value, steps

        def __getattr__(self, name):
            if name.startswith("_") or name != self.steps[0]:
                raise AttributeError(name)
            rest = self.steps[1:]
            return lambda: Tensor(self.value, rest) if rest else self.value

    x = counted(1, 2, 3, 4)
    np.testing.assert_array_equal(layouts.images_from_torch(Tensor(x)), x.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(
        layouts.images_from_torch(x.tolist()), layouts.images_from_torch(x)
    )


def test_weights_of_keras_only_need_names():
    model = network()
    weights = [counted(*shape) for shape in model.parameter_shapes.values()]
    parameters = layouts.from_keras(model, weights)
    assert list(parameters) == list(model.parameter_shapes)
    for value, weight in zip(parameters.values(), weights, strict=True):
        np.testing.assert_array_equal(value, weight)
        assert value is not weight


def normalised():
    layers = [
        fm.Conv2D(4, 3, use_bias=False),
        fm.BatchNorm(),
        fm.Activation("relu"),
        fm.MaxPool2D(2),
        fm.Flatten(),
        fm.BatchNorm(),
        fm.Dropout(0.5),
        fm.LayerNorm(),
        fm.Dense(5),
        fm.LayerNorm(),
        fm.Dense(2),
    ]
    return fm.Sequential(layers, input_shape=(8, 10, 3))


def normalised_state():
    shapes = {"c.weight": (4, 3, 3, 3)}
    for name, size in (("n.", 4), ("m.1.", 48)):
        kinds = ("weight", "bias", "running_mean", "running_var")
        shapes |= {f"{name}{kind}": (size,) for kind in kinds} | {f"{name}num_batches_tracked": ()}
    shapes |= {"l.weight": (48,), "l.bias": (48,), "d.weight": (5, 48), "d.bias": (5,)}
    shapes |= {"k.weight": (5,), "k.bias": (5,), "e.weight": (2, 5), "e.bias": (2,)}
    return {name: np.asarray(counted(*shape)) for name, shape in shapes.items()}


def test_normalisation_and_its_running_statistics():
    model, theirs = normalised(), normalised_state()
    found = layouts.from_torch(model, theirs)
    assert {name: value.shape for name, value in found.items()} == model.shapes
    np.testing.assert_array_equal(found["batchnorm_0.gamma"], theirs["n.weight"])
    np.testing.assert_array_equal(found["batchnorm_0.running_variance"], theirs["n.running_var"])
    # Behind the Flatten in the order of the image, (3, 4, 4), up to the first dense layer.
    moved = theirs["l.weight"].reshape(4, 3, 4).transpose(1, 2, 0).ravel()
    for name in ("batchnorm_1.running_mean", "batchnorm_1.gamma", "layernorm_0.beta"):
        np.testing.assert_array_equal(found[name], moved)
    np.testing.assert_array_equal(
        found["dense_0.weight"], layouts.dense_from_torch(theirs["d.weight"], (3, 4, 4))
    )
    np.testing.assert_array_equal(found["layernorm_1.gamma"], theirs["k.weight"])
    model.set_parameters(found)
    back = layouts.to_torch(model, theirs)
    assert list(back) == list(theirs)
    for name, value in back.items():
        np.testing.assert_array_equal(value, theirs[name])
    assert back["n.num_batches_tracked"].shape == ()
    keras = layouts.to_keras(model)
    again = normalised()
    again.set_parameters(layouts.from_keras(again, keras))
    for name, value in model.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], value)
    keras[0][...] = -1
    assert model.parameters["conv2d_0.weight"].min() >= 0


def test_an_embedding_is_not_turned():
    layers = [fm.Embedding(6, 3, combine="concat"), fm.Dense(2)]
    model = fm.Sequential(layers, input_shape=4)
    state = {"a.weight": counted(6, 3), "b.weight": counted(2, 12), "b.bias": counted(2)}
    found = layouts.from_torch(model, state)
    np.testing.assert_array_equal(found["embedding_0.weight"], state["a.weight"])
    np.testing.assert_array_equal(found["dense_0.weight"], state["b.weight"].T)
    model.set_parameters(found)
    for name, value in layouts.to_torch(model, state).items():
        np.testing.assert_array_equal(value, state[name])


def without(*names):
    return {name: value for name, value in normalised_state().items() if name not in names}


def changed(**changes):
    return {**state(), **changes}


class Own(fm.Layer):
    def build(self, input_shape):
        from fastmlp import initializers
        from fastmlp.parameter import Parameter

        self.parameters = [Parameter("gain", input_shape, initializers.get("normal"), 1, 1)]
        return input_shape


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: layouts.images_from_torch(np.ones((2, 3))), ValueError, "x must have shape (N, C, H, W), got (2, 3)."),
        (lambda: layouts.images_to_torch(np.ones(3)), ValueError, "x must have shape (N, H, W, C), got (3,)."),
        (lambda: layouts.filters_from_torch(np.ones((2, 3))), ValueError, "weight must have shape (F, C, kh, kw), got (2, 3)."),
        (lambda: layouts.filters_to_torch(np.ones((2, 3))), ValueError, "weight must have shape (kh, kw, C, F), got (2, 3)."),
        (lambda: layouts.dense_from_torch(np.ones(3)), ValueError, "weight must have shape (out, in), got (3,)."),
        (lambda: layouts.dense_to_torch(np.ones(3), (1, 1, 3)), ValueError, "weight must have shape (in, out), got (3,)."),
        (lambda: layouts.dense_from_torch(np.ones((2, 12)), (2, 2, 2)), ValueError, "image_shape must be (H, W, C) with H * W * C = 12, the number of inputs, got (2, 2, 2)."),
        (lambda: layouts.dense_to_torch(np.ones((12, 2)), (12,)), ValueError, "image_shape must be (H, W, C) with H * W * C = 12, the number of inputs, got (12,)."),
        (lambda: layouts.from_torch(network(), [1]), TypeError, "state_dict must be a dict from names to tensors, got list."),
        (lambda: layouts.from_torch(network(), {"0.weight": 1}), ValueError, "state_dict must have parameters of 3 layers, like the model, got 1 layers: 0.weight."),
        (lambda: layouts.from_torch(network(), changed(**{"4.bias": 1})), ValueError, "dense_0 has weight, but layer '4' of state_dict has weight and bias."),
        (lambda: layouts.from_torch(network(), changed(**{"4.weight": np.ones((48, 5))})), ValueError, "4.weight must have shape (5, 48), which is dense_0.weight in PyTorch's order, got (48, 5)."),
        (lambda: layouts.from_torch(normalised(), without("n.running_var")), ValueError, "batchnorm_0 has weight and running_var and running_mean and bias, but layer 'n' of state_dict has weight and running_mean and bias."),
        (lambda: layouts.from_torch(normalised(), {**normalised_state(), "m.1.bias": np.ones(4)}), ValueError, "m.1.bias must have shape (48,), which is batchnorm_1.beta in PyTorch's order, got (4,)."),
        (lambda: layouts.to_torch(normalised(), without("c.weight")), ValueError, "names must have 17 entries, one per parameter and buffer, got 16."),
        (lambda: layouts.to_torch(network(), ["a", "b"]), ValueError, "names must have 5 entries, one per parameter and buffer, got 2."),
        (lambda: layouts.from_keras(network(), [1]), ValueError, "weights must have 5 arrays, one per parameter and buffer of the model, got 1."),
        (lambda: layouts.from_keras(network(), list(state().values())), ValueError, "weights[0] must have shape (3, 3, 3, 4), like conv2d_0.weight, got (4, 3, 3, 3)."),
        (lambda: layouts.to_torch(fm.Sequential([Own()], 3), ["a"]), TypeError, "model must have parameters only in Conv2D, Dense, BatchNorm, LayerNorm and Embedding layers, got own_0 Own()."),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(call, kind, message):
    with pytest.raises(kind, match="^" + re.escape(message) + "$"):
        call()
