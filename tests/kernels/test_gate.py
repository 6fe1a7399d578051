"""The checks in front of the kernels: which arguments are refused, and the messages."""

import functools
import pickle

import numpy as np
import pytest
from cases import BACKWARD_BY_INPUT, BACKWARD_BY_OUTPUT, DTYPES, ROWS, UNARY, layouts

from fastmlp import kernels
from fastmlp._arrays import empty
from fastmlp._compiled import elementwise, losses
from fastmlp._compiled import matmul as products

X = np.ones((3, 4), np.float32)
W = np.ones((4, 2), np.float32)


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (None, TypeError, "x must be an array of float32 or float64, got None."),
        (np.ma.masked_array([1.0]), TypeError, "x must be an ordinary array, got a masked array."),
        (np.array([1j]), TypeError, "x must be an array of float32 or float64, got dtype complex"),
        (np.array([object()]), TypeError, "x must be an array of float32 or float64, got dtype ob"),
        (np.array(["a"]), TypeError, "x must be an array of float32 or float64, got dtype <U1"),
        (np.zeros(2, [("a", "f4")]), TypeError, "got dtype [('a', '<f4')]."),
        ([[1.0], [1.0, 2.0]], ValueError, "x must be a rectangular array of numbers"),
        (np.zeros(2, np.longdouble), TypeError, "x must be an array of float32 or float64, got"),
    ],
)
def test_refused_arrays(bad, error, message):
    for function in (kernels.relu, kernels.softmax, kernels.exp, kernels.sum_batch):
        with pytest.raises(error) as caught:
            function(bad)
        assert message in str(caught.value)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: kernels.matmul(X, X), ValueError,
         "a and b must have the same inner size, got 4 in a's shape (3, 4) and 3 in b's shape "
         "(3, 4)."),
        (lambda: kernels.matmul(X, X, transpose_a=True, transpose_b=True), ValueError,
         "got 3 in a's shape (3, 4) and 4 in b's shape (3, 4) (a transposed) (b transposed)."),
        (lambda: kernels.matmul(X[0], W), ValueError,
         "a and b must have two dimensions, got shapes (4,) and (4, 2)."),
        (lambda: kernels.matmul(X, W.astype(np.float64)), TypeError,
         "b must have the dtype of the other arrays, float32, got float64."),
        (lambda: kernels.matmul(X, W, accumulate=True), TypeError,
         "out is required with accumulate=True, got None."),
        (lambda: kernels.matmul(X, W, out=np.empty((2, 3), np.float32)), ValueError,
         "out must be a C-contiguous, writeable float32 array of shape (3, 2), got shape (2, 3)."),
        (lambda: kernels.matmul(X, W, out=np.empty((3, 2))), TypeError,
         "out must be a C-contiguous, writeable float32 array of shape (3, 2), got ndarray of "
         "float64."),
        (lambda: kernels.matmul(X, W, out=[[0]]), TypeError, "got list."),
        (lambda: kernels.matmul(X, W, out=np.empty((2, 3), np.float32).T), ValueError,
         "got one that is not C-contiguous."),
        (lambda: kernels.dense(X, X), ValueError,
         "x and weight must have shapes (N, I) and (I, O), got (3, 4) and (3, 4)."),
        (lambda: kernels.dense(X, W, X[0]), ValueError, "bias must have shape (2,), got (4,)."),
        (lambda: kernels.add_bias(X, W[0]), ValueError,
         "x and bias must have shapes (N, O) and (O,), got (3, 4) and (2,)."),
        (lambda: kernels.sum_batch(X[0]), ValueError, "x must have shape (N, O), got (4,)."),
        (lambda: kernels.relu_backward(X, W), ValueError,
         "dy and y must have the same shape, got (3, 4) and (4, 2)."),
        (lambda: kernels.gelu_backward(X, W), ValueError,
         "dy and x must have the same shape, got (3, 4) and (4, 2)."),
        (lambda: kernels.softmax(np.float32(1)), ValueError,
         "x must have at least one dimension, got a single number."),
        (lambda: kernels.softmax_cross_entropy(X, [0, 1]), ValueError,
         "labels must have one label per row (3), got 2."),
        (lambda: kernels.softmax_cross_entropy(X, [0, 4, 0]), ValueError,
         "labels must lie from 0 to 3, got 4 at index 1."),
        (lambda: kernels.softmax_cross_entropy(X, [0, 1, -1]), ValueError,
         "labels must lie from 0 to 3, got -1 at index 2."),
        (lambda: kernels.softmax_cross_entropy(X, W), ValueError,
         "labels must be integers of shape (3,) or probabilities of shape (3, 4), got float32 of shape "
         "(4, 2)."),
        (lambda: kernels.softmax_cross_entropy(X, None), TypeError,
         "labels must be an array of labels or of one-hot rows, got None."),
        (lambda: kernels.softmax_cross_entropy(X[:0], []), ValueError,
         "logits must have shape (N, C) and must not be empty, got (0, 4)."),
        (lambda: kernels.softmax_cross_entropy(X, np.array([0, 2**64 - 1, 0], np.uint64)),
         ValueError, "labels must fit in int64, got 18446744073709551615."),
        (lambda: kernels.mse(X, W), ValueError,
         "prediction and target must have the same shape and must not be empty, got (3, 4) and (4, 2)."),
        (lambda: kernels.sgd_update([1.0], [1.0], 0.1), TypeError,
         "weight must be a numpy array, got list."),
        (lambda: kernels.sgd_update(X.T, X.T, 0.1), ValueError,
         "weight must be a C-contiguous, writeable array of native float32 or float64, got"),
        (lambda: kernels.sgd_update(X.copy(), W, 0.1), ValueError,
         "gradient must have the shape of weight, (3, 4), got (4, 2)."),
    ],
)  # fmt: skip
def test_messages(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)


def test_overlap_is_refused():
    memory = np.ones(20, np.float32)
    with pytest.raises(ValueError, match="out must not overlap the other arrays, unless it is one"):
        kernels.relu(memory[:16], out=memory[1:17])
    square = np.ones((4, 4), np.float32)
    with pytest.raises(ValueError, match="out must not overlap the other arrays\\."):
        kernels.matmul(square, square, out=square)
    with pytest.raises(ValueError, match="out must not overlap the other arrays"):
        kernels.softmax_cross_entropy(square.copy(), square, out=square)
    frozen = np.ones(3, np.float32)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="not writeable"):
        kernels.relu(frozen, out=frozen)
    with pytest.raises(ValueError, match="weight must be"):
        kernels.sgd_update(frozen, frozen.copy(), 0.1)


def test_huge_empty_shapes_return_at_once():
    for shape in ((2**40, 0), (0, 2**40)):
        x = np.empty(shape, np.float32)
        kernels.relu(x)
        kernels.softmax(x)
        kernels.log_softmax(x)
        kernels.softmax_backward(x, x)
    x = np.empty((2**40, 0), np.float32)
    assert kernels.sum_batch(x).shape == (0,)
    assert kernels.add_bias(x, np.empty(0, np.float32)).shape == (2**40, 0)
    w = np.empty((0, 3), np.float32)
    assert kernels.matmul(x.T, np.empty((2**40, 0), np.float32)).shape == (0, 0)
    assert kernels.count_correct(np.empty((0, 3), np.float32), np.empty(0, int)) == 0
    assert (
        kernels.dense(np.empty((5, 0), np.float32), w, np.ones(3, np.float32)).tolist()
        == [[1.0] * 3] * 5
    )


def test_out_of_an_equal_dtype_object_works():
    unpickled = pickle.loads(pickle.dumps(np.ones(3, np.float32)))
    assert kernels.relu(unpickled, out=unpickled) is unpickled
    kernels.sgd_update(unpickled, unpickled.copy(), 0.5)
    np.testing.assert_array_equal(unpickled, np.full(3, 0.5, np.float32))


class Subclass(np.ndarray):
    pass


def awkward(x):
    """Yield the same values as arrays that the compiled functions do not take."""
    yield from layouts(x)
    yield "subclass", x.view(Subclass)
    yield "metadata", x.astype(np.dtype(x.dtype, metadata={"unit": "m"}))


def calls(dtype):
    """Yield functions with arrays that need no conversion."""
    rng = np.random.default_rng(5)
    x, y, w = (rng.standard_normal(s).astype(dtype) for s in ((6, 7), (6, 7), (7, 5)))
    row, labels = rng.standard_normal(5).astype(dtype), np.arange(6)
    for name in (*UNARY, *ROWS):
        yield getattr(kernels, name), [np.abs(x)]
    for name in (*BACKWARD_BY_OUTPUT, *BACKWARD_BY_INPUT):
        yield getattr(kernels, name), [x, y]
    yield kernels.matmul, [x, w]
    yield functools.partial(kernels.matmul, transpose_a=True, alpha=0.3), [x, y]
    yield functools.partial(kernels.matmul, transpose_b=True), [x, y]
    yield kernels.dense, [x, w, row]
    yield functools.partial(kernels.dense, relu=True), [x, w]
    yield kernels.add_bias, [y[:, :5].copy(), row]
    yield kernels.sum_batch, [x]
    yield functools.partial(kernels.clip_by_value, limit=0.5), [x]
    for loss in (kernels.mse, kernels.mae, kernels.huber, kernels.binary_cross_entropy):
        yield loss, [x, y]
    for function in (kernels.softmax_cross_entropy, kernels.count_correct):
        yield function, [x, labels]
        yield function, [x, np.abs(y)]
    yield kernels.hinge, [x, labels]


def bits(result):
    if isinstance(result, tuple):
        return [bits(part) for part in result]
    if not isinstance(result, np.ndarray):
        return result
    assert type(result) is np.ndarray
    assert result.flags.carray
    return result.dtype.str, result.shape, result.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_must_be_converted_gives_the_same_bits(dtype):
    for function, arrays in calls(dtype):
        expected = bits(function(*arrays))
        for index, x in enumerate(arrays):
            for layout, same in awkward(x):
                mixed = [*arrays[:index], same, *arrays[index + 1 :]]
                assert bits(function(*mixed)) == expected, (function, index, layout)
    for x in (dtype(0.3), np.array(0.3, dtype)):
        assert bits(kernels.tanh(x)) == bits(kernels.tanh(np.full((1,), 0.3, dtype)).reshape(()))


def test_small_and_whole_numbers_are_converted():
    x, w = np.linspace(-2, 2, 12).reshape(3, 4), np.arange(8).reshape(4, 2)
    half, single = x.astype(np.float16), x.astype(np.float16).astype(np.float32)
    assert bits(kernels.gelu(half)) == bits(kernels.gelu(single))
    for other in (w, w.astype(np.uint8), w.astype(np.float16), w % 2 == 1):
        for one in (x, half):
            dtype = np.float64 if one is x else np.float32
            if other.dtype.kind != "f" or dtype == np.float32:
                expected = kernels.matmul(one.astype(dtype), other.astype(dtype))
                assert bits(kernels.matmul(one, other)) == bits(expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_outputs_that_do_not_fit_stay_as_they_are(dtype):
    """The compiled function does nothing and says None; the public one says why."""
    a, b = np.ones((3, 4), dtype), np.ones((4, 3), dtype)
    x, row, labels = np.ones((3, 3), dtype), np.ones(3, dtype), np.arange(3)
    pairs = [
        (lambda out: products.matmul(a, b, out, False, False, False, 1.0),
         lambda out: kernels.matmul(a, b, out=out)),
        (lambda out: products.dense(a, b, row, out, False),
         lambda out: kernels.dense(a, b, row, out=out)),
        (lambda out: elementwise.unary(elementwise.UNARY["exp"], x, out, 0.0),
         lambda out: kernels.exp(x, out=out)),
        (lambda out: elementwise.backward(elementwise.UNARY["relu"], x, x, out, 0.0),
         lambda out: kernels.relu_backward(x, x, out=out)),
        (lambda out: losses.softmax(x, out), lambda out: kernels.softmax(x, out=out)),
        (lambda out: losses.cross_entropy(x, labels, out, 0.0, None, None),
         lambda out: kernels.softmax_cross_entropy(x, labels, out=out)),
    ]  # fmt: skip
    right = np.arange(9, dtype=dtype).reshape(3, 3)
    other = np.float64 if dtype == np.float32 else np.float32
    outs = [out for name, out in awkward(right) if name not in ("list", "metadata")]
    outs += [right.astype(other), right[:2].copy(), right[0].copy(), np.ma.masked_array(right)]
    outs += [right.astype(np.float16), right.astype(np.int64), [[0.0] * 3] * 3, 0, "out"]
    for out in outs:
        before = repr(out)
        for compiled, public in pairs:
            assert compiled(out) is None
            with pytest.raises((TypeError, ValueError), match="out must be a C-contiguous"):
                public(out)
        assert repr(out) == before


def test_states_that_do_not_fit_leave_the_weight_alone():
    w, g = np.ones(4, np.float32), np.ones(4, np.float32)
    frozen = np.zeros(4, np.float32)
    frozen.flags.writeable = False
    for state in (None, 0, np.zeros(4), np.zeros(3, np.float32), frozen, np.zeros((2, 2), "f4")):
        with pytest.raises((TypeError, ValueError), match="accumulator must be a C-contiguous"):
            kernels.adagrad_update(w, g, state, 0.1)
        with pytest.raises((TypeError, ValueError), match="v must be a C-contiguous"):
            kernels.adam_update(w, g, np.zeros_like(w), state, 1, 0.1)
    with pytest.raises(ValueError, match="must not overlap"):
        kernels.adam_update(w, g, frozen.copy(), w, 1, 0.1)
    with pytest.raises(TypeError):
        kernels.sgd_update(w, g, None)
    assert w.tolist() == [1.0] * 4


def test_new_arrays():
    for shape in ((), (0,), (3, 5), (2047,), (2048,), (4096,), (64, 64), (2, 0, 3)):
        for dtype in DTYPES:
            x = empty(shape, np.dtype(dtype))
            assert (type(x), x.shape, x.dtype, x.flags.carray) == (np.ndarray, shape, dtype, True)
            assert x.nbytes < 8192 or x.ctypes.data % 64 == 0
            x[...] = 1
    # Sizes that no memory has, and that no integer holds: numpy's own errors.
    for rows, columns in ((2**22, 2**25), (2**40, 2**40), (2**31, 2**31)):
        a, b = np.empty((rows, 0), np.float32), np.empty((0, columns), np.float32)
        with pytest.raises((MemoryError, ValueError)) as expected:
            np.empty((rows, columns), np.float32)
        with pytest.raises(expected.type) as caught:
            kernels.matmul(a, b)
        assert str(caught.value) == str(expected.value)


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "hinge", "mse", "binary_cross_entropy"])
def test_a_gradient_may_not_go_over_labels_or_weights(name):
    """Labels are indices: a gradient over those still to be read would make them anything."""
    x = np.arange(12.0).reshape(4, 3)
    memory = np.zeros(24)
    out = memory[:12].reshape(4, 3)
    labels = memory.view(np.int64)[8:12]
    labels[:] = [0, 1, 2, 1]
    weights = memory[4:8]
    weights[:] = 1
    classes = name in ("softmax_cross_entropy", "hinge")
    function = getattr(kernels, name)
    if classes:
        with pytest.raises(ValueError, match="out must not overlap the other arrays"):
            function(x, labels, out=out)
    target = labels.copy() if classes else np.ones((4, 3))
    with pytest.raises(ValueError, match="out must not overlap the other arrays"):
        function(x, target, out=out, sample_weight=weights)
    assert (labels == [0, 1, 2, 1]).all()
