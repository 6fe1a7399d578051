"""Sequential: construction, parameters, prediction and description."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import _checks


def test_layers_are_counted_by_kind():
    layers = [fm.Flatten(), fm.Dense(2), fm.Activation("relu"), fm.Dense(2), fm.Activation("tanh")]
    model = fm.Sequential(layers, input_shape=(2, 2))
    names = ["flatten_0", "dense_0", "activation_0", "dense_1", "activation_1"]
    assert [layer.name for layer in model.layers] == names
    assert model.input_shape == (2, 2)
    assert model.output_shape == (2,)


def test_predict_is_the_plain_formula(backend):
    model = fm.MLP(4, [6], 3, dtype="float64", seed=1)
    model.backend = backend
    p = model.parameters
    x = np.random.default_rng(0).standard_normal((5, 4))
    hidden = np.maximum(x @ p["dense_0.weight"] + p["dense_0.bias"], 0)
    expected = hidden @ p["dense_1.weight"] + p["dense_1.bias"]
    np.testing.assert_allclose(model.predict(x), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("n", [1, 511, 512, 513, 1300])
def test_prediction_does_not_depend_on_how_rows_are_cut(n, backend):
    model = fm.MLP(3, [4], 2, dtype="float64")
    model.backend = backend
    x = np.random.default_rng(0).standard_normal((n, 3))
    together = model.predict(x)
    assert together.shape == (n, 2)
    rows = np.concatenate([model.predict(x[i : i + 1]) for i in {0, n // 2, n - 1}])
    picked = together[list({0, n // 2, n - 1})]
    np.testing.assert_allclose(rows, picked, rtol=1e-12, atol=1e-15)
    y = np.arange(n) % 2
    assert model.evaluate(x, y)["loss"] == pytest.approx(model.gradients(x, y)[0], rel=1e-12)


def test_predict_proba_is_softmax_sigmoid_or_the_output_itself(backend):
    x = np.random.default_rng(0).standard_normal((4, 3))
    many, one = fm.MLP(3, [], 5), fm.MLP(3, [], 1)
    done = fm.Sequential([fm.Dense(5, activation="softmax")], input_shape=3)
    for model in (many, one, done):
        model.backend = backend
    logits = many.predict(x)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(many.predict_proba(x), p, rtol=1e-5)
    np.testing.assert_allclose(one.predict_proba(x), 1 / (1 + np.exp(-one.predict(x))), rtol=1e-5)
    np.testing.assert_array_equal(done.predict_proba(x), done.predict(x))


def test_flat_input_takes_images_without_a_copy():
    model = fm.MLP(784, [4], 3)
    x = np.random.default_rng(0).random((5, 28, 28), dtype=np.float32)
    flat = model.predict(x.reshape(5, 784))
    np.testing.assert_array_equal(model.predict(x), flat)
    np.testing.assert_array_equal(model.predict(x[..., None]), flat)
    assert np.shares_memory(_checks.features(x, (784,), model.dtype), x)


LAYOUTS = {
    "list": lambda x: x.tolist(),
    "int": lambda x: x.astype(int),
    "uint8": lambda x: x.astype("uint8"),
    "bool": lambda x: x.astype(bool),
    "float16": lambda x: x.astype("float16"),
    "float64": lambda x: x.astype("float64"),
    "longdouble": lambda x: x.astype("longdouble"),
    "byte-swapped": lambda x: x.astype(x.dtype.newbyteorder()),
    "fortran": np.asfortranarray,
    "negative stride": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
    "every other": lambda x: np.repeat(np.repeat(x, 2, axis=0), 2, axis=1)[::2, ::2],
    "matrix": np.asmatrix,
    "read-only": lambda x: _read_only(x.copy()),
    "unaligned": lambda x: _unaligned(x),
}


def _read_only(x):
    x.flags.writeable = False
    return x


def _unaligned(x):
    raw = np.zeros(x.nbytes + 1, dtype="uint8")
    result = raw[1:].view(x.dtype).reshape(x.shape)
    result[:] = x
    return result


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_any_layout_and_real_dtype_works_and_is_not_changed(layout, backend):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (12, 6)).astype("float32")
    y = rng.integers(0, 3, 12)
    given_x = LAYOUTS[layout](x)
    given_y = LAYOUTS[layout](y[:, None])[:, 0] if layout == "every other" else y
    before = np.array(given_x, copy=True)
    ready = _checks.features(given_x, (6,), np.dtype("float32"))
    assert ready.dtype is np.dtype("uint8" if layout == "uint8" else "float32")
    assert ready.flags.c_contiguous
    assert ready.flags.aligned
    models = []
    for data in ((x, y), (given_x, given_y)):
        model = fm.MLP(6, [4], 3, seed=1)
        model.backend = backend
        model.fit(*data, epochs=2, batch_size=5, validation_data=data, verbose=0)
        models.append(model.predict(data[0]))
    np.testing.assert_array_equal(*models)
    np.testing.assert_array_equal(np.array(given_x), before)


@pytest.mark.parametrize(
    "convert",
    [
        list,
        lambda y: y.astype("uint8"),
        lambda y: y.astype("float64"),
        lambda y: y.astype(">i2"),
        lambda y: y[::-1].copy()[::-1],
        lambda y: np.eye(3)[y],
        lambda y: np.eye(3, dtype=bool)[y],
        lambda y: np.asfortranarray(np.eye(3, dtype="int32")[y]),
    ],
)
def test_any_form_of_labels_is_the_same(convert, toy):
    x, y = toy
    expected, model = fm.MLP(6, [4], 3), fm.MLP(6, [4], 3)
    expected.fit(x, y, epochs=1)
    history = model.fit(x, convert(y), epochs=1)
    np.testing.assert_allclose(model.predict(x), expected.predict(x), rtol=1e-5, atol=1e-6)
    assert history.history["accuracy"] == expected.history.history["accuracy"]


def test_parameters_are_read_only_and_of_their_moment(toy):
    model = fm.MLP(6, [4], 3)
    weight = model.parameters["dense_0.weight"]
    before = weight.copy()
    with pytest.raises(ValueError, match="read-only"):
        weight[0, 0] = 1
    model.fit(*toy, epochs=1)
    np.testing.assert_array_equal(weight, before)
    assert not np.array_equal(weight, model.parameters["dense_0.weight"])
    with pytest.raises(ValueError, match="read-only"):
        model.parameters["dense_0.weight"][0, 0] = 1


def test_set_parameters_copies_and_leaves_the_others():
    model = fm.MLP(2, [3], 2)
    bias = np.array([1, 2, 3])
    weight = model.parameters["dense_0.weight"].copy()
    model.set_parameters({"dense_0.bias": bias})
    bias[0] = 9
    np.testing.assert_array_equal(model.parameters["dense_0.bias"], [1, 2, 3])
    np.testing.assert_array_equal(model.parameters["dense_0.weight"], weight)


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ({"dense_9.bias": [1]}, ValueError, "must be one of dense_0.weight, dense_0.bias"),
        ({"dense_0.bias": [1, 2]}, ValueError, r"dense_0.bias must have shape \(3,\), got \(2,\)"),
        ({"dense_0.bias": [1, np.nan, 2]}, ValueError, r"got nan at index \(1,\)"),
        ({"dense_0.bias": [1, 1e300, 2]}, ValueError, "got 1e[+]300"),
        ({"dense_0.bias": ["a", "b", "c"]}, TypeError, "got 'a' at index 0"),
        ({3: [1, 2, 3]}, TypeError, "parameter name"),
        ([1, 2], TypeError, "must be a dict from names to arrays, got list"),
    ],
)
def test_set_parameters_checks_everything_before_it_changes_anything(bad, error, message):
    model = fm.MLP(2, [3], 2)
    before = {name: value.copy() for name, value in model.parameters.items()}
    good = {"dense_0.weight": np.ones((2, 3))}
    with pytest.raises(error, match=message):
        model.set_parameters(good | bad if isinstance(bad, dict) else bad)
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, before[name])


def test_summary_and_repr():
    model = fm.Sequential(
        [fm.Flatten(), fm.Dense(16, activation="relu"), fm.Dense(10)], input_shape=(8, 8)
    )
    lines = model.summary().splitlines()
    assert lines[0].split() == ["layer", "output", "shape", "parameters"]
    assert lines[2].split() == ["flatten_0", "Flatten()", "(64,)", "0"]
    assert lines[3].split() == ["dense_0", "Dense(16,", "activation='relu')", "(16,)", "1,040"]
    assert lines[-1] == "input (8, 8), 1,210 parameters, float32, 4.727 KiB"
    assert len({len(line) for line in lines[:-1]}) == 1
    assert repr(model) == (
        "Sequential([Flatten(), Dense(16, activation='relu'), Dense(10)], "
        "input_shape=(8, 8), dtype='float32', seed=0)"
    )


def test_copy_is_independent(toy):
    model = fm.MLP(6, [4], 3)
    wide = model.copy("float64")
    before = model.predict(toy[0])
    wide.fit(*toy, epochs=1)
    np.testing.assert_array_equal(model.predict(toy[0]), before)
    assert wide.dtype == "float64"
    assert wide.predict(toy[0]).dtype == "float64"
    assert (model.epochs_begun, wide.epochs_begun) == (0, 1)


@pytest.mark.parametrize("clone", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy])
def test_pickle_and_deepcopy_keep_the_model(clone, toy, backend):
    model = fm.MLP(6, [4], 3)
    model.backend = backend
    model.fit(*toy, epochs=1)
    model.train_on_batch(*toy)
    again = clone(model)
    np.testing.assert_array_equal(again.predict(toy[0]), model.predict(toy[0]))
    for each in (model, again):
        each.fit(*toy, epochs=1)
    np.testing.assert_array_equal(again.predict(toy[0]), model.predict(toy[0]))


def test_threads_predict_at_once(model):
    x = np.random.default_rng(0).standard_normal((8, 700, 6)).astype("float32")
    expected = [model.predict(part) for part in x]
    wrong = []

    def work(index: int) -> None:
        for _ in range(20):
            same = np.array_equal(model.predict(x[index]), expected[index])
            wrong.extend([] if same else [index])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_layer_of_the_users_own(backend, toy):
    class Scale(fm.Layer):
        def forward(self, ops, x, workspace):
            return x * 2

        def backward(self, ops, dy, workspace, sink, need_dx):
            return dy * 2

    model = fm.Sequential([fm.Dense(4), Scale(), fm.Dense(3)], input_shape=6)
    model.backend = backend
    assert fm.gradcheck(model, toy[0][:4], toy[1][:4]).passed
    assert model.layers[1].name == "scale_0"
