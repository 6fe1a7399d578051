"""Convolution and pooling as layers: shapes, gradients, training, messages."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import optimizers, reference
from fastmlp.layers import LAYERS
from fastmlp.layers.window import Window
from fastmlp.optimizers import GradientStore, OptimizerState, UpdatingSink
from fastmlp.stored import Stored

# What images run on.
BACKENDS = ["kernels", "numpy"]


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


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


def test_pooling_layers_are_the_operations(backend):
    x = np.random.default_rng(0).standard_normal((3, 7, 8, 2))
    cases = [
        (fm.MaxPool2D(), reference.max_pool2d_loops(x)[0]),
        (fm.MaxPool2D((3, 2), 1), reference.max_pool2d_loops(x, (3, 2), strides=1)[0]),
        (fm.AvgPool2D(), reference.avg_pool2d_loops(x)),
        (fm.AvgPool2D(2, (1, 3)), reference.avg_pool2d_loops(x, 2, strides=(1, 3))),
        (fm.GlobalAvgPool2D(), x.mean(axis=(1, 2))),
    ]
    for layer, expected in cases:
        model = fm.Sequential([layer], input_shape=(7, 8, 2), dtype="float64")
        model.backend = backend
        np.testing.assert_allclose(model.predict(x), expected, atol=1e-12, err_msg=repr(layer))
        assert model.num_parameters == 0


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


def test_window_of_a_layer():
    model, _, _ = small("numpy")
    assert model.layers[0].window == Window(9, 11, 2, 3, 3, 1, 1, 1, 1, 1, 1, 9, 11)
    assert model.layers[1].window == Window(9, 11, 4, 2, 2, 2, 2, 0, 0, 0, 0, 4, 5)
    assert model.layers[2].window == Window(4, 5, 4, 2, 3, 2, 1, 0, 0, 0, 0, 2, 3)
    assert model.layers[5].window == Window(1, 2, 3, 1, 2, 1, 1, 0, 0, 0, 0, 1, 1)
    with pytest.raises(AttributeError):
        model.layers[0].window.height = 3
    window = Window.of((8, 7, 1), 4, 3, "same")
    assert (window.pad_top, window.pad_bottom, window.pad_left, window.pad_right) == (1, 1, 1, 2)


# --- Gradients ----------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["linear", "relu", "tanh", "gelu"])
def test_gradients_of_one_pooling_after_another(activation, backend):
    layers = [
        fm.Conv2D(3, 2, activation=activation, bias_init="normal"),
        fm.MaxPool2D((1, 2)),
        fm.MaxPool2D((2, 1), 1),
        fm.Activation("tanh"),
        fm.MaxPool2D(2, 1),
        fm.AvgPool2D((1, 2)),
        fm.Flatten(),
        fm.Dense(2),
    ]
    model = fm.Sequential(layers, input_shape=(7, 11, 2), dtype="float64", seed=1)
    model.backend = backend
    x = np.random.default_rng(0).standard_normal((5, 7, 11, 2))
    result = fm.gradcheck(model, x, np.arange(5) % 2)
    assert result.passed, result


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


def test_gradcheck_stays_on_its_side_of_a_changing_maximum():
    model = fm.Sequential(
        [fm.Conv2D(1, 1, use_bias=False), fm.MaxPool2D(2), fm.Flatten(), fm.Dense(1)],
        (2, 2, 2),
        dtype="float64",
    )
    # Pixel 0 and pixel 3 are equal, by different channels: the weights decide which is larger.
    model.set_parameters({"conv2d_0.weight": [[[[1.0], [1.0]]]]})
    x = np.zeros((1, 2, 2, 2))
    x[0, 0, 0], x[0, 1, 1] = (1, 0), (0, 1)
    model.backend = "numpy"
    assert fm.gradcheck(model, x, [[1.0]], "mse").kinks["conv2d_0.weight"] == 2
    x[0, 0, 0] = 2, 0
    result = fm.gradcheck(model, x, [[1.0]], "mse")
    assert result.kinks["conv2d_0.weight"] == 0
    assert result.passed


def test_a_sink_copies_what_it_stores_and_updates_with_the_gradient_itself():
    model = fm.Sequential([fm.Conv2D(2, 1)], (1, 1, 2), dtype="float64")
    weight = model.named_parameters["conv2d_0.weight"]
    gradient = np.arange(4.0).reshape(1, 1, 2, 2)
    store = GradientStore(reference)
    store.array(weight, gradient)
    gradient *= 2
    np.testing.assert_array_equal(store.gradients["conv2d_0.weight"].ravel(), [0, 1, 2, 3])
    before = weight.value.copy()
    sink = UpdatingSink(reference, OptimizerState(fm.SGD(0.5)))
    sink.array(weight, gradient)
    np.testing.assert_array_equal(weight.value, before - 0.5 * gradient)
    assert not sink.gradients


# --- Panels -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 2, 5, 7), (1, 1, 1, 16), (2, 2, 3, 33), (4, 5, 8)])
@pytest.mark.parametrize("width", [8, 16])
def test_a_filter_is_a_matrix_in_panels(shape, width):
    value = np.arange(float(np.prod(shape))).reshape(shape)
    stored = Stored(shape)
    stored.assign(value, np.dtype(np.float64))
    panels = stored.panels(width)
    matrix = value.reshape(-1, shape[-1])
    assert panels.shape == (-(-shape[-1] // width), len(matrix), width)
    padded = np.zeros((len(matrix), len(panels) * width))
    padded[:, : shape[-1]] = matrix
    for p, panel in enumerate(panels):
        np.testing.assert_array_equal(panel, padded[:, p * width : (p + 1) * width])
    np.testing.assert_array_equal(stored.value, value)
    stored.write(value + 1)
    assert stored.live is panels
    np.testing.assert_array_equal(stored.value, value + 1)
    stored.restore(value)  # a copy of before it was in panels
    np.testing.assert_array_equal(stored.value, value)
    np.testing.assert_array_equal(stored.panels(2 * width)[0, :, 0], matrix[:, 0])
    np.testing.assert_array_equal(stored.plain(), value)
    assert stored.plain().shape == shape


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


@pytest.mark.parametrize("kind", [fm.MaxPool2D, fm.AvgPool2D, fm.GlobalAvgPool2D])
def test_a_first_layer_of_images_takes_height_and_width(kind):
    assert fm.Sequential([kind()], input_shape=(4, 6)).input_shape == (4, 6, 1)


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
        ((5, 6, 3), (4, 5, 6), "x must have shape (N, 5, 6, 3), got (4, 5, 6). Images without channels have one, the model takes 3."),
        ((5, 6, 3), (4, 3, 5, 6), "x must have shape (N, 5, 6, 3), got (4, 3, 5, 6). Channels come last: pass fm.layouts.images_from_torch(x)."),
        ((5, 6, 3), (5, 6, 3), "x must have shape (N, 5, 6, 3), got (5, 6, 3). For a single sample pass x[None]."),
        ((5, 6, 3), (4, 5, 6, 4), "x must have shape (N, 5, 6, 3), got (4, 5, 6, 4)."),
        ((5, 6, 3), (4, 90), "x must have shape (N, 5, 6, 3), got (4, 90). Pass x.reshape(-1, 5, 6, 3) if the channels of a pixel stand together, fm.layouts.images_from_torch(x.reshape(-1, 3, 5, 6)) if each channel is a plane."),
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


@pytest.mark.parametrize(
    "layer",
    [
        fm.Conv2D(3, (2, 5), (1, 2), "same", "tanh", "he_normal", False),
        fm.Conv2D(2, 3, bias_init="normal"),
        fm.MaxPool2D((2, 3), 1),
        fm.AvgPool2D(3, (1, 2)),
        fm.GlobalAvgPool2D(),
    ],
    ids=repr,
)
def test_config_makes_an_equal_layer(layer):
    config = json.loads(json.dumps(layer.config()))
    assert type(layer)(**config).config() == config == layer.config()
    assert LAYERS[type(layer).__name__] is type(layer)


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
        (lambda: fm.Conv2D(2, (3, 3, 3)), ValueError, "kernel_size must be an integer or two of them, (y, x), got (3, 3, 3)."),
        (lambda: fm.Conv2D(2, (3, -1)), ValueError, "kernel_size must be at least 1, got -1."),
        (lambda: fm.Conv2D(2, 3, strides=0), ValueError, "strides must be at least 1, got 0."),
        (lambda: fm.Conv2D(2, 3, strides=(1, 0)), ValueError, "strides must be at least 1, got 0."),
        (lambda: fm.Conv2D(2, 3, padding="full"), ValueError, "padding must be one of valid, same, got 'full'."),
        (lambda: fm.Conv2D(2, 3, padding=1), TypeError, "padding must be one of valid, same, got 1."),
        (lambda: fm.Conv2D(2, 3, use_bias=1), TypeError, "use_bias must be True or False, got 1."),
        (lambda: fm.MaxPool2D(0), ValueError, "pool_size must be at least 1, got 0."),
        (lambda: fm.AvgPool2D(2, 0), ValueError, "strides must be at least 1, got 0."),
        (lambda: fm.AvgPool2D(True), TypeError, "pool_size must be an integer, got True."),
    ],
)  # fmt: skip
def test_wrong_arguments_of_a_layer(make, kind, message):
    with refused(kind, message):
        make()


@pytest.mark.parametrize(
    ("layers", "shape", "message"),
    [
        ([fm.Conv2D(2, 5)], (4, 8, 1), "conv2d_0: kernel_size must be at most the size of the image, (4, 8), got (5, 5)."),
        ([fm.Conv2D(2, 3), fm.MaxPool2D(3)], (4, 8, 1), "maxpool2d_0: pool_size must be at most the size of the image, (2, 6), got (3, 3)."),
        ([fm.Conv2D(2, 3)], (784,), "conv2d_0: a sample must be an image (height, width, channels), got shape (784,)."),
        ([fm.Flatten(), fm.Conv2D(2, 3)], (8, 8), "conv2d_0: a sample must be an image (height, width, channels), got shape (64,)."),
        ([fm.GlobalAvgPool2D()], (4, 8, 1, 2), "globalavgpool2d_0: a sample must be an image (height, width, channels), got shape (4, 8, 1, 2)."),
        ([fm.GlobalAvgPool2D(), fm.GlobalAvgPool2D()], (4, 8, 3), "globalavgpool2d_1: a sample must be an image (height, width, channels), got shape (3,)."),
        ([fm.Conv2D(2, 3), fm.Dense(3)], (5, 5, 1), "dense_0: a sample must have shape (features,), got (3, 3, 2). Add fm.Flatten() before this layer."),
        ([fm.AvgPool2D(2), fm.Dense(3)], (5, 5), "dense_0: a sample must have shape (features,), got (2, 2, 1). Add fm.Flatten() before this layer."),
    ],
)  # fmt: skip
def test_layers_that_do_not_fit(layers, shape, message):
    with refused(ValueError, message):
        fm.Sequential([type(layer)(**layer.config()) for layer in layers], input_shape=shape)
