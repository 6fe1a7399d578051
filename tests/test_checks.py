"""Bad input: the error, its message, and an unchanged model."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest

import fastmlp as fm

X = np.random.default_rng(0).standard_normal((12, 4)).astype("float32")
Y = np.arange(12) % 3


def changed(array, index, value):
    result = np.array(array, dtype=type(value) if isinstance(value, float) else None)
    result[index] = value
    return result


STRUCTURED = np.zeros(12, dtype=[("a", "f4")])
MASKED = np.ma.masked_array(X, mask=X > 1)

BAD_X = [
    (X[:, :3], ValueError, "x must have shape (N, 4), got (12, 3)."),
    (X[0], ValueError, "x and y must have the same length, got 4 and 12."),
    (np.zeros((12, 2, 3)), ValueError, "x must have shape (N, 4), got (12, 2, 3)."),
    (np.zeros(12), ValueError, "x must have shape (N, 4), got (12,)."),
    (3.0, ValueError, "x must have shape (N, 4), got ()."),
    (X[:5], ValueError, "x and y must have the same length, got 5 and 12."),
    (
        changed(X, (7, 2), np.nan),
        ValueError,
        "x must hold finite float32 numbers, got nan at index (7, 2).",
    ),
    (
        changed(X, (0, 3), -np.inf),
        ValueError,
        "x must hold finite float32 numbers, got -inf at index (0, 3).",
    ),
    (
        changed(X, (1, 1), 1e300),
        ValueError,
        "x must hold finite float32 numbers, got 1e+300 at index (1, 1).",
    ),
    (X.astype(object), TypeError, "x must be an array of numbers, got objects such as 0.12573"),
    (X.astype(complex), TypeError, "x must be an array of numbers, got dtype complex128."),
    (STRUCTURED, TypeError, "x must be an array of numbers, got a structured array."),
    (MASKED, TypeError, "x must be an ordinary array, got a masked array."),
    (None, TypeError, "x must be an array, got None."),
    (X.astype(str), TypeError, "x must be an array of numbers, got '0.12573022' at index 0."),
    (X.astype("M8[s]"), TypeError, "x must be an array of numbers, got dtype datetime64[s]."),
    ([[1, 2], [3]], ValueError, "x must be a rectangular array of numbers: "),
    ({"a": 1}, TypeError, "x must be an array of numbers, got objects such as {'a': 1}."),
]

LABELS = "y must hold integer labels from 0 to 2 (the model has 3 outputs), got "
BAD_LABELS = [
    (changed(Y, 4, -1), ValueError, LABELS + "-1 at index 4."),
    (changed(Y, 11, 3), ValueError, LABELS + "3 at index 11."),
    (changed(Y, 2, 2**62), ValueError, LABELS + "4611686018427387904 at index 2."),
    (Y.astype("uint64") + np.uint64(2**63), ValueError, LABELS + "9223372036854775808 at index 0."),
    (changed(Y, 3, 1.5), ValueError, LABELS + "1.5 at index 3."),
    (changed(Y, 3, np.nan), ValueError, LABELS + "nan at index 3."),
    (changed(Y, 3, np.inf), ValueError, LABELS + "inf at index 3."),
    ([0] * 5 + ["cat"] * 7, TypeError, "y must be an array of numbers, got 'cat' at index 5."),
    (["cat"] * 12, TypeError, "y must be an array of numbers, got 'cat' at index 0."),
    ([None] * 12, TypeError, "y must be an array of numbers, got objects such as None."),
    (Y.astype(complex), TypeError, "y must be an array of numbers, got dtype complex128."),
    (Y[:11], ValueError, "x and y must have the same length, got 12 and 11."),
    (1, ValueError, "y must have one target per sample (12), got a single value."),
    (
        np.eye(4)[Y],
        ValueError,
        "y must have one-hot rows of width 3, got shape (12, 4).",
    ),
    (
        Y[:, None],
        ValueError,
        (
            "y must have one-hot rows of width 3, got shape (12, 1). "
            "For integer labels pass y.ravel()."
        ),
    ),
    (
        2 * np.eye(3)[Y],
        ValueError,
        "y must have rows of probabilities that sum to 1, got [2.0, 0.0, 0.0] at index 0.",
    ),
    (
        np.eye(3)[Y] + [[1, -1, 0]],
        ValueError,
        "y must have rows of probabilities that sum to 1, got [2.0, -1.0, 0.0] at index 0.",
    ),
    (
        changed(np.eye(3)[Y], (5, 1), np.nan),
        ValueError,
        "y must hold finite float32 numbers, got nan at index (5, 1).",
    ),
    (np.zeros((12, 3, 1)), ValueError, "y must have shape (N,) for labels or (N, 3)"),
    (np.ma.masked_array(Y, mask=Y > 1), TypeError, "y must be an ordinary array"),
]

BAD_OPTIONS = [
    ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0."),
    ({"epochs": -1}, ValueError, "epochs must be at least 1, got -1."),
    ({"epochs": 1.0}, TypeError, "epochs must be an integer, got 1.0 of type float."),
    ({"epochs": True}, TypeError, "epochs must be an integer, got True."),
    ({"epochs": None}, TypeError, "epochs must be an integer, got None of type NoneType."),
    ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0."),
    ({"batch_size": -32}, ValueError, "batch_size must be at least 1, got -32."),
    ({"batch_size": 32.0}, TypeError, "batch_size must be an integer, got 32.0 of type float."),
    ({"batch_size": "32"}, TypeError, "batch_size must be an integer, got '32' of type str."),
    ({"batch_size": False}, TypeError, "batch_size must be an integer, got False."),
    (
        {"optimizer": "adamm"},
        ValueError,
        "optimizer must be one of sgd, adagrad, rmsprop, adam, adamw, got 'adamm'.",
    ),
    (
        {"optimizer": 0.1},
        TypeError,
        "optimizer must be one of sgd, adagrad, rmsprop, adam, adamw, got 0.1.",
    ),
    (
        {"optimizer": fm.SGD},
        TypeError,
        "optimizer must be one of sgd, adagrad, rmsprop, adam, adamw, got ",
    ),
    (
        {"loss": "mae?"},
        ValueError,
        "loss must be one of cross_entropy, binary_cross_entropy, mse, mae, huber, hinge, got "
        "'mae?'. Did you mean 'mae'?",
    ),
    ({"loss": abs}, TypeError, "loss must be one of cross_entropy, binary_cross_entropy, mse, "),
    ({"shuffle": "yes"}, TypeError, "shuffle must be True or False, got 'yes'."),
    ({"verbose": 3}, ValueError, 'verbose must be "auto", 0, 1 or 2, got 3.'),
    ({"verbose": "loud"}, ValueError, "verbose must be \"auto\", 0, 1 or 2, got 'loud'."),
    ({"callbacks": 3}, TypeError, "callbacks must be a list of fm.Callback objects, got 3."),
    (
        {"callbacks": [print]},
        TypeError,
        "callbacks must contain only fm.Callback objects, got <built-in",
    ),
    (
        {"validation_data": X},
        ValueError,
        "validation_data must be a tuple (x, y) or (x, y, sample_weight), got ndarray.",
    ),
    (
        {"validation_data": (X,)},
        ValueError,
        "validation_data must be a tuple (x, y) or (x, y, sample_weight), got 1 elements.",
    ),
    (
        {"validation_data": (X, Y, Y, Y)},
        ValueError,
        "validation_data must be a tuple (x, y) or (x, y, sample_weight), got 4 elements.",
    ),
    (
        {"validation_data": (X, Y, Y[1:])},
        ValueError,
        "validation_data[2] must have shape (12,), one weight per sample, got (11,).",
    ),
    (
        {"validation_data": (X[:, :2], Y)},
        ValueError,
        "validation_data[0] must have shape (N, 4), got (12, 2).",
    ),
    (
        {"validation_data": (X, Y + 1)},
        ValueError,
        "validation_data[1] must hold integer labels from 0 to 2",
    ),
    (
        {"validation_data": (X[:3], Y)},
        ValueError,
        "validation_data[0] and validation_data[1] must have the same length, got 3 and 12.",
    ),
]


@pytest.fixture
def untouched():
    """Give a model and assert at the end that a refused call has left it as it was."""
    model = fm.MLP(4, [5], 3)
    before = {name: value.copy() for name, value in model.parameters.items()}
    optimizer, loss = model.optimizer, model.loss
    yield model
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, before[name])
    assert (model.optimizer, model.loss, model.history) == (optimizer, loss, None)
    assert model.epochs_begun == 0


def refused(error, message):
    return pytest.raises(error, match="^" + re.escape(message))


@pytest.mark.parametrize(("x", "error", "message"), BAD_X, ids=[str(m) for *_, m in BAD_X])
def test_bad_x(untouched, x, error, message):
    for call in (untouched.fit, untouched.evaluate, untouched.train_on_batch, untouched.gradients):
        with refused(error, message):
            call(x, Y)


@pytest.mark.parametrize(("x", "error", "message"), BAD_X, ids=[str(m) for *_, m in BAD_X])
def test_bad_x_in_predict(untouched, x, error, message):
    if "same length" in message:
        message = "x must have shape (N, 4), got (4,). For a single sample pass x[None]."
        if np.shape(x) == (5, 4):
            return
    for call in (untouched.predict, untouched.predict_proba):
        with refused(error, message):
            call(x)


@pytest.mark.parametrize(("y", "error", "message"), BAD_LABELS, ids=[m for *_, m in BAD_LABELS])
def test_bad_labels(untouched, y, error, message):
    for call in (untouched.fit, untouched.evaluate, untouched.train_on_batch, untouched.gradients):
        with refused(error, message):
            call(X, y)


def test_missing_labels(untouched):
    for call in (untouched.fit, untouched.evaluate):
        with refused(TypeError, "y is required when x is an array. Omit y only if x is an it"):
            call(X, None)
    for call in (untouched.train_on_batch, untouched.gradients):
        with refused(TypeError, "y must be an array, got None."):
            call(X, None)


@pytest.mark.parametrize(
    ("options", "error", "message"), BAD_OPTIONS, ids=[m for *_, m in BAD_OPTIONS]
)
def test_bad_options_of_fit(untouched, options, error, message):
    with refused(error, message):
        untouched.fit(X, Y, **options)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((0, 4), "x must hold at least one sample, got shape (0, 4)."),
        ((12, 0), "x must have shape (N, 4), got (12, 0)."),
    ],
)
def test_empty_data(untouched, shape, message):
    with refused(ValueError, message):
        untouched.fit(np.zeros(shape), np.zeros(shape[0], int))
    with refused(ValueError, message):
        untouched.predict(np.zeros(shape))


@pytest.mark.alone
@pytest.mark.parametrize(
    ("x_shape", "y_shape"),
    [
        ((2**40, 0), (2**40,)),
        ((2**40, 0), (12,)),
        ((0, 2**40), (0,)),
        ((2**40, 4), (12,)),
        ((2**40, 3), (2**40,)),
        ((2**31, 2**20), (2**31,)),
        ((12, 4), (2**40,)),
        ((12, 4), (12, 2**40)),
    ],
)
def test_enormous_shapes_are_refused_at_once(untouched, x_shape, y_shape):
    x = np.broadcast_to(np.float32(0), x_shape)
    y = np.broadcast_to(np.int64(0), y_shape)
    seconds = []
    for _ in range(3):  # the best of three: a busy machine may interrupt one
        start = time.perf_counter()
        with pytest.raises(ValueError, match="must have"):
            untouched.fit(x, y)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.01 * 5


MSE_TARGETS = [
    (np.zeros((12, 2)), ValueError, "y must have shape (N, 3) for this loss, got (12, 2)."),
    (Y, ValueError, "y must have shape (N, 3) for this loss, got (12,)."),
    (
        changed(np.zeros((12, 3)), (2, 1), np.nan),
        ValueError,
        "y must hold finite float32 numbers, got nan at index (2, 1).",
    ),
    (np.zeros((11, 3)), ValueError, "x and y must have the same length, got 12 and 11."),
    (np.zeros((12, 3), complex), TypeError, "y must be an array of numbers, got dtype complex128"),
]


@pytest.mark.parametrize(("y", "error", "message"), MSE_TARGETS, ids=[m for *_, m in MSE_TARGETS])
def test_bad_targets_of_mse(untouched, y, error, message):
    with refused(error, message):
        untouched.fit(X, y, loss="mse")


@pytest.mark.parametrize("layers", [[fm.Dense(1)], [fm.Activation("tanh")]])
def test_cross_entropy_needs_two_classes_in_a_row(layers):
    model = fm.Sequential(layers, input_shape=(4,) if layers[0].config().get("units") else (4, 2))
    with refused(
        ValueError, "cross_entropy requires a model with one output per class and at least 2"
    ):
        model.fit(np.zeros((12, *model.input_shape)), Y)
    with refused(ValueError, "cross_entropy requires a model"):
        model.compile()


@pytest.mark.parametrize("rate", [-0.1, np.nan, np.inf, -np.inf, np.float32("nan")])
def test_learning_rate_must_be_finite_and_not_negative(rate):
    with refused(ValueError, "learning_rate must be finite and at least 0, got "):
        fm.SGD(rate)
    optimizer = fm.SGD(0.5)
    with refused(ValueError, "learning_rate must be finite and at least 0, got "):
        optimizer.learning_rate = rate
    assert optimizer.learning_rate == 0.5


@pytest.mark.parametrize("rate", ["0.1", None, True, [0.1], np.array([0.1]), 1j])
def test_learning_rate_must_be_a_number(rate):
    with refused(TypeError, "learning_rate must be a number, got "):
        fm.SGD(rate)


@pytest.mark.parametrize("rate", [1, 0, np.float32(0.5), np.int64(2), np.array(0.25)])
def test_learning_rate_may_be_any_real_number(rate):
    assert fm.SGD(rate).learning_rate == float(rate)
    assert type(fm.SGD(rate).learning_rate) is float


BAD_LAYERS = [
    (lambda: fm.Dense(0), ValueError, "units must be at least 1, got 0."),
    (lambda: fm.Dense(-3), ValueError, "units must be at least 1, got -3."),
    (lambda: fm.Dense(2.0), TypeError, "units must be an integer, got 2.0 of type float."),
    (lambda: fm.Dense(True), TypeError, "units must be an integer, got True."),
    (lambda: fm.Dense(2, use_bias=1), TypeError, "use_bias must be True or False, got 1."),
    (
        lambda: fm.Dense(2, "Relu"),
        ValueError,
        (
            "activation must be one of linear, relu, leaky_relu, elu, gelu, silu, softplus, tanh, "
            "sigmoid, softmax, got 'Relu'."
        ),
    ),
    (lambda: fm.Dense(2, max), TypeError, "activation must be one of linear, relu"),
    (
        lambda: fm.Dense(2, init="xavier"),
        ValueError,
        (
            "initializer must be one of zeros, normal, uniform, glorot_uniform, glorot, "
            "glorot_normal, he_normal, he_uniform, lecun_normal, got 'xavier'."
        ),
    ),
    (lambda: fm.Dense(2, init=3), TypeError, "initializer must be a name, an array, or a function"),
    (
        lambda: fm.Dense(2, init=fm.initializers.Normal),
        TypeError,
        "initializer must be a name, an array, or a function",
    ),
    (lambda: fm.initializers.Normal(-1), ValueError, "std must be finite and at least 0, got -1"),
    (lambda: fm.MLP(4, [0], 3), ValueError, "units must be at least 1, got 0."),
    (lambda: fm.MLP(0, [3], 3), ValueError, "in_features must be at least 1, got 0."),
    (lambda: fm.MLP(4, 5, 3), TypeError, "hidden must be a list of integers, got 5."),
    (lambda: fm.MLP(4, "55", 3), TypeError, "hidden must be a list of integers, got '55'."),
    (
        lambda: fm.MLP(4, [3], 3, dtype="float16"),
        ValueError,
        'dtype must be "float32" or "float64", got \'float16\'.',
    ),
    (lambda: fm.MLP(4, [3], 3, dtype="what"), ValueError, "dtype must be "),
    (lambda: fm.MLP(4, [3], 3, dtype=None), ValueError, "dtype must be "),
    (lambda: fm.MLP(4, [3], 3, seed=-1), ValueError, "seed must be at least 0, got -1."),
    (lambda: fm.MLP(4, [3], 3, seed=None), TypeError, "seed must be an integer, got None"),
    (lambda: fm.Sequential([], 4), ValueError, "layers must contain at least one layer, got none."),
    (lambda: fm.Sequential(fm.Dense(2), 4), TypeError, "layers must be a list of layers, got "),
    (lambda: fm.Sequential([fm.Dense(2), "relu"], 4), TypeError, "layers[1] must be a layer, got"),
    (
        lambda: fm.Sequential([fm.Flatten], 4),
        TypeError,
        "layers[0] must be a layer, got the class Flatten. Create",
    ),
    (
        lambda: fm.Sequential([fm.Dense(2)] * 2, 4),
        ValueError,
        "layers[1] must be a new layer, got Dense(2)",
    ),
    (
        lambda: fm.Sequential(fm.MLP(4, [], 2).layers, 4),
        ValueError,
        "layers[0] must be a new layer, got",
    ),
    (lambda: fm.Sequential([fm.Dense(2)], ()), ValueError, "input_shape must have at least one"),
    (lambda: fm.Sequential([fm.Dense(2)], (0,)), ValueError, "input_shape must be at least 1"),
    (lambda: fm.Sequential([fm.Dense(2)], (4.0,)), TypeError, "input_shape must be an integer"),
    (
        lambda: fm.Sequential([fm.Dense(2)], (4, 4)),
        ValueError,
        "dense_0: a sample must have shape (features,), got (4, 4). Add fm.Flatten() before",
    ),
]


@pytest.mark.parametrize(("make", "error", "message"), BAD_LAYERS, ids=[m for *_, m in BAD_LAYERS])
def test_bad_models(make, error, message):
    with refused(error, message):
        make()


@pytest.mark.parametrize("name", ["gpu", "Numpy", "", None, 3, ["numpy"]])
def test_unknown_backend(untouched, name):
    before = untouched.backend
    with refused(ValueError, f'backend must be "kernels" or "numpy", got {name!r}.'):
        untouched.backend = name
    assert untouched.backend == before


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"metrics": "accuracy"},
            TypeError,
            "metrics must be a list of names and functions, got 'accuracy'.",
        ),
        (
            {"metrics": ["auc"]},
            ValueError,
            "a metric must be one of accuracy, error, top_5, precision, recall, f1, precision_macro",
        ),
        (
            {"metrics": ["accuracy"], "loss": "mse"},
            ValueError,
            "metrics: accuracy needs a loss with classes, such as cross_entropy.",
        ),
        ({"optimizer": fm.SGD(0.5), "loss": "Huber"}, ValueError, "loss must be one of"),
    ],
)
def test_bad_compile(untouched, options, error, message):
    with refused(error, message):
        untouched.compile(**options)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"eps": 0}, ValueError, "eps must be finite and at least 1e-12, got 0.0."),
        ({"eps": "small"}, TypeError, "eps must be a number"),
        ({"max_per_parameter": 0}, ValueError, "max_per_parameter must be at least 1, got 0."),
        ({"tolerance": -1}, ValueError, "tolerance must be finite and at least 0, got -1.0."),
    ],
)
def test_bad_options_of_gradcheck(untouched, options, error, message):
    with refused(error, message):
        fm.gradcheck(untouched, X, Y, **options)


def test_sample_of_the_right_shape_but_without_a_batch_axis_gets_a_hint():
    with refused(
        ValueError, "x must have shape (N, 4), got (4,). For a single sample pass x[None]"
    ):
        fm.MLP(4, [], 2).predict([1, 2, 3, 4])


def test_images_need_their_exact_shape_when_the_input_is_not_flat():
    model = fm.Sequential([fm.Flatten(), fm.Dense(2)], input_shape=(2, 3))
    with refused(ValueError, "x must have shape (N, 2, 3), got (5, 6)."):
        model.predict(np.zeros((5, 6)))


def test_large_finite_values_whose_sum_overflows_are_accepted():
    x = np.full((4, 4), np.finfo("float32").max, dtype="float32")
    with np.errstate(all="ignore"):
        assert fm.MLP(4, [], 2, init="zeros").predict(x).shape == (4, 2)
