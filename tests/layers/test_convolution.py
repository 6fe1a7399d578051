"""Conv2D and networks of images: shapes, gradients, training, messages."""

from __future__ import annotations

import re

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import optimizers, reference
from fastmlp.optimizers import OptimizerState


def refused(kind, message):
    return pytest.raises(kind, match="^" + re.escape(message) + "$")


def small(backend, *, seed=0, dtype="float64"):
    """Return a network with every image layer, and data for it."""
    layers = [
        fm.Conv2D(4, 3, padding="same", activation="tanh", bias_init="normal"),
        fm.MaxPool2D(2),
        fm.Conv2D(5, (2, 3), strides=(2, 1), activation="gelu", bias_init="normal"),
        fm.AvgPool2D(2, strides=1),
        fm.Conv2D(3, 1, use_bias=False),
        fm.GlobalAvgPool2D(),
    ]
    model = fm.Sequential(layers, input_shape=(9, 11, 2), dtype=dtype, seed=seed)
    model.backend = backend
    rng = np.random.default_rng(seed)
    return model, rng.standard_normal((7, 9, 11, 2)), rng.integers(0, 3, 7)


# --- What a layer computes ----------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["linear", "relu", "tanh", "silu", "softmax"])
def test_convolution_layer_is_the_operation_and_the_activation(activation, backend):
    layer = fm.Conv2D(5, 3, 2, "same", activation, bias_init="normal")
    model = fm.Sequential([layer], input_shape=(7, 8, 2), dtype="float64")
    model.backend = backend
    x = np.random.default_rng(0).standard_normal((3, 7, 8, 2))
    w, b = model.parameters.values()
    z = reference.conv2d_loops(x, w, b, strides=2, padding="same")
    expected = z if activation == "linear" else getattr(reference, activation)(z)
    np.testing.assert_allclose(model.predict(x), expected, atol=1e-12)


def test_names_shapes_and_first_values_of_parameters():
    model, _, _ = small("numpy")
    assert model.parameter_shapes == {
        "conv2d_0.weight": (3, 3, 2, 4),
        "conv2d_0.bias": (4,),
        "conv2d_1.weight": (2, 3, 4, 5),
        "conv2d_1.bias": (5,),
        "conv2d_2.weight": (1, 1, 5, 3),
    }
    assert [layer.output_shape for layer in model.layers] == [
        (9, 11, 4), (4, 5, 4), (2, 3, 5), (1, 2, 5), (1, 2, 3), (3,),
    ]  # fmt: skip
    # An output sums kh * kw * C inputs, an input feeds kh * kw * F outputs.
    limit = np.sqrt(6 / (9 * 2 + 9 * 50))
    drawn = fm.Sequential([fm.Conv2D(50, 3)], (5, 5, 2)).parameters["conv2d_0.weight"]
    assert 0.98 * limit < abs(drawn).max() <= limit
    fans = []
    fm.Sequential(
        [fm.Conv2D(5, (2, 3), init=lambda shape, *rest: fans.append(rest[:2]) or np.zeros(shape))],
        (9, 9, 4),
    )
    assert fans == [(24, 30)]


@pytest.mark.parametrize("seed", range(3))
def test_gradients(seed, backend):
    model, x, y = small(backend, seed=seed)
    result = fm.gradcheck(model, x, y)
    assert result.passed, result
    assert sum(result.checked.values()) > 0.9 * model.num_parameters


@pytest.mark.parametrize(
    "name",
    [
        "conv2d_backward_input",
        "conv2d_backward_weights",
        "max_pool2d_backward",
        "avg_pool2d_backward",
        "global_avg_pool2d_backward",
    ],
)
def test_gradcheck_notices_a_wrong_gradient_of_each_operation(name, monkeypatch):
    right = getattr(reference, name)

    def wrong(*arguments, **options):
        result = right(*arguments, **options)
        result *= 1.001
        return result

    model, x, y = small("numpy")
    monkeypatch.setattr(reference, name, wrong)
    assert not fm.gradcheck(model, x, y).passed


# --- Training -----------------------------------------------------------------------------------


def squares(n=240):
    """Return images (n, 10, 10) with a bright square or a bright cross somewhere, and which."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 0.2, (n, 10, 10)), rng.integers(0, 2, n)
    shapes = np.ones((3, 3)), np.array([[1.0, 0, 1], [0, 1, 0], [1, 0, 1]])
    for image, label in zip(x, y, strict=True):
        i, j = rng.integers(0, 8, 2)
        image[i : i + 3, j : j + 3] += shapes[label]
    return x.astype(np.float32), y


def test_a_small_network_learns_shapes_at_any_place(backend):
    x, y = squares()
    model = fm.Sequential(
        [fm.Conv2D(4, 3, activation="relu"), fm.MaxPool2D(8), fm.Flatten(), fm.Dense(2)], (10, 10)
    )
    model.backend = backend
    history = model.fit(
        x[:200], y[:200], epochs=30, batch_size=20, optimizer=fm.Adam(0.02), verbose=0
    )
    assert history.history["loss"][-1] < 0.1 < 0.5 < history.history["loss"][0]
    assert model.evaluate(x[200:], y[200:])["accuracy"] > 0.95


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_training_is_steps_along_gradients(optimizer, backend):
    model, x, y = small(backend)
    twin, _, _ = small(backend)
    model.fit(x, y, epochs=2, batch_size=3, shuffle=False, optimizer=optimizer, verbose=0)
    state = OptimizerState(optimizers.get(optimizer))
    for _ in range(2):
        for start in (0, 3, 6):
            state.step += 1
            _, gradients = twin.gradients(x[start : start + 3], y[start : start + 3])
            for name, parameter in twin.named_parameters.items():
                slots = {slot: stored.plain() for slot, stored in state.of(parameter).items()}
                state.optimizer.update(
                    reference,
                    parameter.plain(),
                    gradients[name],
                    slots,
                    state.step,
                    state.learning_rate,
                )
    for name, value in model.parameters.items():
        np.testing.assert_allclose(value, twin.parameters[name], rtol=0, atol=1e-12, err_msg=name)


# --- Shapes of samples --------------------------------------------------------------------------


def grey(shape=(5, 6)):
    layers = [fm.Conv2D(2, 3), fm.Flatten(), fm.Dense(3)]
    return fm.Sequential(layers, shape, dtype="float64")


@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 1)])
def test_grey_images_need_no_channel(shape, backend):
    model = grey(shape)
    model.backend = backend
    assert model.input_shape == (5, 6, 1)
    x = np.random.default_rng(0).standard_normal((4, 5, 6, 1))
    expected = model.predict(x)
    for other in (x[..., 0], x.reshape(4, 30), x[..., 0].tolist(), np.asfortranarray(x)):
        np.testing.assert_array_equal(model.predict(other), expected)
    assert model.fit(x[..., 0], [0, 1, 2, 1], epochs=1, verbose=0).history["loss"]


def test_images_of_bytes_are_scaled(backend):
    def make(scale):
        layers = [fm.Conv2D(2, 3), fm.GlobalAvgPool2D()]
        model = fm.Sequential(layers, (5, 6, 3), "float64", scale=scale)
        model.backend = backend
        return model

    x = np.random.default_rng(0).integers(0, 256, (9, 5, 6, 3)).astype(np.uint8)
    y = np.arange(9) % 2
    model, plain = make(1 / 255), make(1.0)
    np.testing.assert_allclose(model.predict(x), plain.predict(x / 255), atol=1e-13)
    loss, gradients = model.gradients(x, y)
    expected_loss, expected = plain.gradients(x / 255, y)
    assert loss == pytest.approx(expected_loss)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, expected[name], atol=1e-13)
    assert model.fit(x, y, epochs=1, batch_size=4, verbose=0).history["loss"]


@pytest.mark.parametrize(
    ("input_shape", "shape", "message"),
    [
        ((5, 6, 3), (4, 5, 6), "x must have shape (N, 5, 6, 3), got (4, 5, 6). Images without a channel axis have one channel, but the model takes 3."),
        ((5, 6, 3), (4, 3, 5, 6), "x must have shape (N, 5, 6, 3), got (4, 3, 5, 6). Channels come last: pass fm.layouts.images_from_torch(x)."),
        ((5, 6, 3), (5, 6, 3), "x must have shape (N, 5, 6, 3), got (5, 6, 3). For a single sample pass x[None]."),
        ((5, 6, 3), (4, 5, 6, 4), "x must have shape (N, 5, 6, 3), got (4, 5, 6, 4)."),
        ((5, 6, 3), (4, 90), "x must have shape (N, 5, 6, 3), got (4, 90). Pass x.reshape(-1, 5, 6, 3) if the channels of a pixel are adjacent, or fm.layouts.images_from_torch(x.reshape(-1, 3, 5, 6)) if each channel is a separate plane."),
        ((5, 6, 3), (90,), "x must have shape (N, 5, 6, 3), got (90,)."),
        ((5, 6, 1), (5, 6), "x must have shape (N, 5, 6, 1), got (5, 6). For a single sample pass x[None]."),
        ((5, 6, 1), (30,), "x must have shape (N, 5, 6, 1), got (30,)."),
        ((5, 6, 1), (4, 6, 5), "x must have shape (N, 5, 6, 1), got (4, 6, 5)."),
        ((5, 6, 1), (4, 1, 5, 6), "x must have shape (N, 5, 6, 1), got (4, 1, 5, 6). Channels come last: pass fm.layouts.images_from_torch(x)."),
        ((5, 6, 1), (), "x must have shape (N, 5, 6, 1), got ()."),
    ],
)  # fmt: skip
def test_samples_that_are_not_the_images_of_the_model(input_shape, shape, message):
    with refused(ValueError, message):
        grey(input_shape).predict(np.zeros(shape))


# --- Files and text -----------------------------------------------------------------------------


def test_a_model_of_images_is_saved_and_loaded(tmp_path, backend):
    model, x, _ = small(backend, dtype="float32")
    path = tmp_path / "m.safetensors"
    model.save(path)
    loaded = fm.load_model(path)
    loaded.backend = backend
    assert repr(loaded) == repr(model)
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
    assert [layer.config() for layer in loaded.layers] == [layer.config() for layer in model.layers]


def test_layers_describe_themselves():
    assert repr(fm.Conv2D(32, 3, activation="relu")) == "Conv2D(32, 3, activation='relu')"
    assert repr(fm.Conv2D(8, (1, 3), 2, "same")) == "Conv2D(8, (1, 3), strides=2, padding='same')"
    assert repr(fm.MaxPool2D()) == "MaxPool2D(2)"
    assert repr(fm.AvgPool2D((2, 3), 1)) == "AvgPool2D((2, 3), strides=1)"
    assert repr(fm.GlobalAvgPool2D()) == "GlobalAvgPool2D()"


def test_summary_has_the_shapes_of_images():
    summary = small("numpy")[0].summary()
    assert "conv2d_1 Conv2D(5, (2, 3), strides=(2, 1), activation='gelu')  (2, 3, 5)" in summary
    assert "input (9, 11, 2), 216 parameters, float64" in summary


# --- Messages -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: fm.Conv2D(0, 3), ValueError, "filters must be at least 1, got 0."),
        (lambda: fm.Conv2D(2.5, 3), TypeError, "filters must be an integer, got 2.5 of type float."),
        (lambda: fm.Conv2D(2, 0), ValueError, "kernel_size must be at least 1, got 0."),
        (lambda: fm.Conv2D(2, "3"), TypeError, "kernel_size must be an integer, got '3' of type str."),
        (lambda: fm.Conv2D(2, (3, 3, 3)), ValueError, "kernel_size must be an integer or two integers (y, x), got (3, 3, 3)."),
        (lambda: fm.Conv2D(2, (3, -1)), ValueError, "kernel_size must be at least 1, got -1."),
        (lambda: fm.Conv2D(2, 3, strides=0), ValueError, "strides must be at least 1, got 0."),
        (lambda: fm.Conv2D(2, 3, strides=(1, 0)), ValueError, "strides must be at least 1, got 0."),
        (lambda: fm.Conv2D(2, 3, padding="full"), ValueError, "padding must be one of valid, same, got 'full'."),
        (lambda: fm.Conv2D(2, 3, padding=1), TypeError, "padding must be one of valid, same, got 1."),
        (lambda: fm.Conv2D(2, 3, use_bias=1), TypeError, "use_bias must be True or False, got 1."),
    ],
)  # fmt: skip
def test_wrong_arguments_of_a_layer(make, kind, message):
    with refused(kind, message):
        make()


@pytest.mark.parametrize(
    ("layers", "shape", "message"),
    [
        ([fm.Conv2D(2, 5)], (4, 8, 1), "conv2d_0: kernel_size must be at most the size of the image, (4, 8), got (5, 5)."),
        ([fm.Conv2D(2, 3)], (784,), "conv2d_0: a sample must be an image (height, width, channels), got shape (784,)."),
        ([fm.Flatten(), fm.Conv2D(2, 3)], (8, 8), "conv2d_0: a sample must be an image (height, width, channels), got shape (64,)."),
        ([fm.Conv2D(2, 3), fm.Dense(3)], (5, 5, 1), "dense_0: a sample must have shape (features,), got (3, 3, 2). Add fm.Flatten() before this layer."),
    ],
)  # fmt: skip
def test_layers_that_do_not_fit(layers, shape, message):
    with refused(ValueError, message):
        fm.Sequential([type(layer)(**layer.config()) for layer in layers], input_shape=shape)
