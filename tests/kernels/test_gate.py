"""What the kernels refuse, and what they say."""

import pickle

import numpy as np
import pytest

from fastmlp import kernels

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
         "a and b must agree in the summed size, got 4 of a's shape (3, 4) and 3 of b's shape "
         "(3, 4)."),
        (lambda: kernels.matmul(X, X, transpose_a=True, transpose_b=True), ValueError,
         "got 3 of a's shape (3, 4) and 4 of b's shape (3, 4) (a transposed) (b transposed)."),
        (lambda: kernels.matmul(X[0], W), ValueError,
         "a and b must have two dimensions, got shapes (4,) and (4, 2)."),
        (lambda: kernels.matmul(X, W.astype(np.float64)), TypeError,
         "b must have the dtype of the other arrays, float32, got float64."),
        (lambda: kernels.matmul(X, W, accumulate=True), TypeError,
         "out must be given with accumulate=True, got None."),
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
         "dy and y must have one shape, got (3, 4) and (4, 2)."),
        (lambda: kernels.gelu_backward(X, W), ValueError,
         "dy and x must have one shape, got (3, 4) and (4, 2)."),
        (lambda: kernels.softmax(np.float32(1)), ValueError,
         "x must have at least one dimension, got a single number."),
        (lambda: kernels.softmax_cross_entropy(X, [0, 1]), ValueError,
         "labels must have one label a row, that is 3, got 2."),
        (lambda: kernels.softmax_cross_entropy(X, [0, 4, 0]), ValueError,
         "labels must lie from 0 to 3, got 4 at index 1."),
        (lambda: kernels.softmax_cross_entropy(X, [0, 1, -1]), ValueError,
         "labels must lie from 0 to 3, got -1 at index 2."),
        (lambda: kernels.softmax_cross_entropy(X, W), ValueError,
         "labels must be integers of shape (3,) or rows of shape (3, 4), got float32 of shape "
         "(4, 2)."),
        (lambda: kernels.softmax_cross_entropy(X, None), TypeError,
         "labels must be an array of labels or of one-hot rows, got None."),
        (lambda: kernels.softmax_cross_entropy(X[:0], []), ValueError,
         "logits must have shape (N, C), not empty, got (0, 4)."),
        (lambda: kernels.softmax_cross_entropy(X, np.array([0, 2**64 - 1, 0], np.uint64)),
         ValueError, "labels must fit int64, got 18446744073709551615."),
        (lambda: kernels.mse(X, W), ValueError,
         "prediction and target must have one shape and not be empty, got (3, 4) and (4, 2)."),
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
