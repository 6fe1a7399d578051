"""Updates, penalties and clipping: the kernels against the reference and against textbook formulas."""

import itertools
import math

import numpy as np
import pytest
from cases import DTYPES, layouts

from fastmlp import kernels, reference

SIZES = [0, 1, 3, 7, 8, 9, 15, 16, 17, 63, 64, 65, 1000]
STEPS = 10
# Name, number of states, options.
CASES = [
    ("sgd", 0, {}),
    ("sgd", 0, {"weight_decay": 0.3}),
    ("sgd", 1, {"momentum": 0.9}),
    ("sgd", 1, {"momentum": 0.0}),
    ("sgd", 1, {"momentum": 0.9, "weight_decay": 0.3}),
    ("sgd", 1, {"momentum": 0.7, "nesterov": True}),
    ("sgd", 1, {"momentum": 0.7, "nesterov": True, "weight_decay": 0.3}),
    ("adagrad", 1, {}),
    ("adagrad", 1, {"eps": 0.1, "weight_decay": 0.3}),
    ("rmsprop", 1, {}),
    ("rmsprop", 1, {"rho": 0.6, "eps": 0.1, "weight_decay": 0.3}),
    ("rmsprop", 1, {"rho": 0.0}),
    ("adam", 2, {}),
    ("adam", 2, {"beta1": 0.5, "beta2": 0.7, "eps": 0.1, "weight_decay": 0.3}),
    ("adam", 2, {"beta1": 0.0, "beta2": 0.0}),
    ("adam", 2, {"decoupled": True}),
    ("adam", 2, {"beta1": 0.5, "eps": 0.1, "weight_decay": 0.3, "decoupled": True}),
]
IDS = ["-".join([name, *options]) for name, _, options in CASES]
each_case = pytest.mark.parametrize(("name", "states", "options"), CASES, ids=IDS)


def update(ops, name, weight, gradient, states, step, rate, options):
    """Call the update of that name, whatever the order of its arguments."""
    function = getattr(ops, name + "_update")
    if name == "sgd":
        options = options | ({"velocity": states[0]} if states else {})
        assert function(weight, gradient, rate, **options) is None
    else:
        extra = (step,) if name == "adam" else ()
        assert function(weight, gradient, *states, *extra, rate, **options) is None


def some(rng, n, dtype, states):
    """Weights, the gradients of all steps, and states of zeros."""
    weight = rng.standard_normal(n).astype(dtype)
    gradients = rng.standard_normal((STEPS, n)).astype(dtype)
    return weight, gradients, [np.zeros(n, dtype) for _ in range(states)]


@pytest.mark.parametrize("dtype", DTYPES)
@each_case
def test_kernels_are_the_reference(name, states, options, dtype, rng):
    for n in SIZES:
        weight, gradients, ours = some(rng, n, dtype, states)
        twin, theirs = weight.copy(), [x.copy() for x in ours]
        for step, gradient in enumerate(gradients, 1):
            before = gradient.copy()
            update(kernels, name, weight, gradient, ours, step, 0.05, options)
            update(reference, name, twin, gradient, theirs, step, 0.05, options)
            np.testing.assert_array_equal(gradient, before)
            for one, other in zip([weight, *ours], [twin, *theirs], strict=True):
                assert one.dtype == other.dtype == dtype
                largest = max(1.0, np.abs(other).max(initial=0))
                np.testing.assert_allclose(
                    one, other, rtol=0, atol=8 * np.finfo(dtype).eps * largest
                )


@pytest.mark.parametrize("dtype", DTYPES)
@each_case
def test_an_elements_bits_depend_on_nothing_but_the_element(name, states, options, dtype, rng):
    n = 200
    weight, gradients, state = some(rng, n, dtype, states)
    pieces, piece_state = weight.copy(), [x.copy() for x in state]
    bounds = [0, 1, 4, 11, 19, 28, 45, 76, 109, 172, n]  # pieces of all alignments and lengths
    for step, gradient in enumerate(gradients[:3], 1):
        update(kernels, name, weight, gradient, state, step, 0.05, options)
        for start, stop in itertools.pairwise(bounds):
            piece = slice(start, stop)
            update(
                kernels, name, pieces[piece], gradient[piece], [x[piece] for x in piece_state],
                step, 0.05, options,
            )  # fmt: skip
    for one, other in zip([weight, *state], [pieces, *piece_state], strict=True):
        np.testing.assert_array_equal(one.view(np.uint8), other.view(np.uint8))


@pytest.mark.parametrize("dtype", DTYPES)
@each_case
def test_nothing_is_written_beside(name, states, options, dtype, rng):
    for n in (1, 7, 8, 13, 31):
        arrays = [np.full(n + 40, 7, dtype) for _ in range(2 + states)]
        weight, gradient, *state = (x[20 : 20 + n] for x in arrays)
        update(kernels, name, weight, gradient, state, 1, 0.05, options)
        for x in arrays:
            assert (x[:20] == 7).all()
            assert (x[20 + n :] == 7).all()


@each_case
def test_any_shape_and_layout_of_gradients(name, states, options, rng):
    gradient = rng.standard_normal((6, 5))
    for _, other in layouts(gradient):
        results = []
        for g in (gradient, other):
            weight, state = np.ones((6, 5)), [np.ones((6, 5)) for _ in range(states)]
            update(kernels, name, weight, g, state, 3, 0.05, options)
            results.append([weight, *state])
        np.testing.assert_array_equal(*results)
    for ops in (kernels, reference):
        scalar, state = np.array(2.0), [np.zeros(()) for _ in range(states)]
        update(ops, name, scalar, np.array(1.0), state, 1, 0.05, options)
        assert scalar < 2


@pytest.mark.parametrize("ops", [kernels, reference])
@pytest.mark.parametrize("dtype", DTYPES)
@each_case
def test_special_values(name, states, options, dtype, ops):
    gradient = np.array([0, -0.0, np.nan, np.finfo(dtype).tiny, 1e18, -1e18], dtype)
    weight, state = np.ones(6, dtype), [np.zeros(6, dtype) for _ in range(states)]
    for step in (1, 2):
        update(ops, name, weight, gradient, state, step, 0.05, options)
    assert np.isnan(weight[2])
    assert np.isfinite(np.delete(weight, 2)).all()
    if not options.get("weight_decay"):
        np.testing.assert_array_equal(weight[:2], 1)


def decayed(gradient, weight, options):
    return gradient + options.get("weight_decay", 0) * (not options.get("decoupled")) * weight


@each_case
def test_the_reference_is_the_textbook(name, states, options, rng):
    """The states as explicit sums over all gradients so far, each step in one expression."""
    weight, gradients, state = some(rng, 9, np.float64, states)
    w, seen, rate = weight.copy(), [], 0.05
    eps = options.get("eps", 1e-10 if name == "adagrad" else 1e-8)
    for t, gradient in enumerate(gradients, 1):
        update(reference, name, weight, gradient, state, t, rate, options)
        seen.append(decayed(gradient, w, options))
        g, ages = np.array(seen), np.arange(t - 1, -1, -1)[:, None]
        if name == "sgd":
            mu = options.get("momentum", 0)
            velocity = np.sum(float(mu) ** ages * g, axis=0)
            direction = g[-1] + mu * velocity if options.get("nesterov") else velocity
        elif name == "adagrad":
            direction = g[-1] / ((g**2).sum(axis=0) ** 0.5 + eps)
        elif name == "rmsprop":
            rho = options.get("rho", 0.99)
            direction = g[-1] / (np.sum((1 - rho) * rho**ages * g**2, axis=0) ** 0.5 + eps)
        else:
            # Unbiased means: the weights of a mean are divided by their sum.
            b1, b2 = options.get("beta1", 0.9), options.get("beta2", 0.999)
            mean = np.sum(b1**ages * g, axis=0) / np.sum(b1**ages)
            square = np.sum(b2**ages * g**2, axis=0) / np.sum(b2**ages)
            direction = mean / (square**0.5 + eps)
            if options.get("decoupled"):
                direction = direction + options.get("weight_decay", 0) * w
        w = w - rate * direction
        np.testing.assert_allclose(weight, w, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("ops", [kernels, reference])
def test_nesterov_is_momentum_that_looks_ahead(ops):
    """Sutskever et al. 2013 take the gradient at theta + mu v; ours are the weights there."""
    hessian, mu, rate = np.array([0.3, 2.0, 5.0]), 0.8, 0.05
    theta, step = np.array([1.0, -2.0, 3.0]), np.zeros(3)
    weight, velocity = theta.copy(), np.zeros(3)
    for _ in range(20):
        step = mu * step - rate * hessian * (theta + mu * step)
        theta = theta + step
        ops.sgd_update(
            weight, hessian * weight, rate, velocity=velocity, momentum=mu, nesterov=True
        )
        np.testing.assert_allclose(weight, theta + mu * step, rtol=1e-12, atol=1e-13)


# --- Penalties and clipping -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.2), (0.3, 0.2)])
def test_penalties_are_the_reference(l1, l2, dtype, rng):
    for n in [*SIZES, 5000]:
        weight = rng.standard_normal(n).astype(dtype)
        weight[::3] = 0
        expected = l1 * np.abs(weight).sum(dtype=float) + l2 * (weight.astype(float) ** 2).sum()
        for ops in (kernels, reference):
            assert ops.weight_penalty(weight, l1=l1, l2=l2) == pytest.approx(expected, rel=1e-13)
            gradient = np.ones(n, dtype)
            assert ops.weight_penalty_backward(gradient, weight, l1=l1, l2=l2) is None
            np.testing.assert_allclose(
                gradient, 1 + l1 * np.sign(weight) + 2 * l2 * weight, rtol=8 * np.finfo(dtype).eps,
                atol=8 * np.finfo(dtype).eps,
            )  # fmt: skip


@pytest.mark.parametrize("ops", [kernels, reference])
def test_penalties_of_special_values(ops):
    weight = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1e-45], np.float32)
    gradient = np.ones(6, np.float32)
    ops.weight_penalty_backward(gradient, weight, l1=0.5)
    np.testing.assert_array_equal(gradient[[0, 3, 4, 5]], [np.nan, 1, 1, 1.5])
    assert np.isnan(ops.weight_penalty(weight, l1=0.5))
    assert ops.weight_penalty(weight[1:], l2=0.5) == np.inf
    # The squares of float32 fit float64.
    assert ops.weight_penalty(np.full(3, 1e30, np.float32), l2=1.0) == pytest.approx(3e60, rel=1e-6)


@pytest.mark.parametrize("ops", [kernels, reference])
@pytest.mark.parametrize("dtype", DTYPES)
def test_clip_by_value(dtype, ops, rng):
    for n in SIZES:
        x = rng.standard_normal(n).astype(dtype)
        before = x.copy()
        expected = np.clip(x, dtype(-0.3), dtype(0.3))
        np.testing.assert_array_equal(ops.clip_by_value(x, 0.3), expected)
        np.testing.assert_array_equal(x, before)
        assert ops.clip_by_value(x, 0.3, out=x) is x
        np.testing.assert_array_equal(x, expected)
    special = np.array([np.nan, np.inf, -np.inf, 0.0], dtype)
    np.testing.assert_array_equal(ops.clip_by_value(special, 2.0), [np.nan, 2, -2, 0])


@pytest.mark.parametrize("ops", [kernels, reference])
@pytest.mark.parametrize("dtype", DTYPES)
def test_clip_by_norm(dtype, ops, rng):
    shapes = [(3, 5), (7,), (100, 33), (0,)]
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    norm = math.sqrt(sum((each.astype(float) ** 2).sum() for each in arrays))
    for limit in (1e-3, norm / 2, norm * 2):
        clipped = [each.copy() for each in arrays]
        assert ops.clip_by_norm(clipped, limit) == pytest.approx(norm, rel=1e-13)
        factor = min(1.0, limit / (norm + 1e-6))
        for one, other in zip(clipped, arrays, strict=True):
            eps = 2 * np.finfo(dtype).eps
            np.testing.assert_allclose(one, factor * other, rtol=eps, atol=eps)
            if factor == 1:
                np.testing.assert_array_equal(one, other)
    assert ops.clip_by_norm([], 1.0) == 0
    for value in (np.nan, np.inf):
        clipped = [np.ones(3, dtype), np.array([1, value], dtype)]
        np.testing.assert_equal(ops.clip_by_norm(clipped, 1.0), value)
        assert np.isnan(clipped[1][1])  # and fit will notice


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: kernels.clip_by_value(np.ones(3), 0.0), ValueError, "limit must be above 0"),
        (lambda: kernels.clip_by_value(np.ones(3), np.nan), ValueError, "limit must be finite"),
        (lambda: kernels.clip_by_norm([np.ones(3)], -1.0), ValueError, "limit must be finite"),
        (lambda: kernels.clip_by_norm([[1.0]], 1.0), TypeError, r"gradients\[0\] must be"),
        (lambda: kernels.clip_by_norm([np.ones(4)[::2]], 1.0), ValueError, "not C-contiguous"),
        (lambda: kernels.weight_penalty_backward(np.ones(3), np.ones(4)), ValueError,
         "gradient must be a C-contiguous"),
        (lambda: kernels.weight_penalty(None, l1=1.0), TypeError, "weight must be an array"),
    ],
)  # fmt: skip
def test_penalties_and_clipping_refuse(call, error, message):
    with pytest.raises(error, match=message):
        call()


# --- What is refused ------------------------------------------------------------------------------


W = np.ones(3, np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: kernels.sgd_update(W.copy(), W, 0.1, momentum=0.9), TypeError,
         "velocity is required with momentum or nesterov, got None."),
        (lambda: reference.sgd_update(W.copy(), W, 0.1, nesterov=True), TypeError,
         "velocity is required with momentum or nesterov, got None."),
        (lambda: kernels.sgd_update(W.copy(), W, 0.1, velocity=W[:2].copy()), ValueError,
         "velocity must be a C-contiguous, writeable float32 array of shape (3,), got shape (2,)."),
        (lambda: kernels.adagrad_update(W.copy(), W, np.zeros(3), 0.1), TypeError,
         "accumulator must be a C-contiguous, writeable float32 array of shape (3,), got ndarray "
         "of float64."),
        (lambda: kernels.rmsprop_update(W.copy(), W, None, 0.1), TypeError,
         "accumulator must be a C-contiguous, writeable float32 array of shape (3,), got "
         "NoneType."),
        (lambda: kernels.adam_update(W.copy(), W, W.copy(), np.ones(6, "f4")[::2], 1, 0.1),
         ValueError, "v must be a C-contiguous, writeable float32 array of shape (3,), got one "
         "that is not C-contiguous."),
        (lambda: kernels.adam_update(W.copy(), W, W.copy(), W.copy(), 0, 0.1), ValueError,
         "step must be at least 1, got 0."),
        (lambda: kernels.adam_update(W.copy(), W, W.copy(), W.copy(), 1, 0.1, beta1=1.0),
         ValueError, "beta1 must be at least 0 and below 1, got 1.0."),
        (lambda: kernels.adam_update(W.copy(), W, W.copy(), W.copy(), 1, 0.1, beta2=-0.1),
         ValueError, "beta2 must be at least 0 and below 1, got -0.1."),
        (lambda: kernels.adam_update([1.0], W, W, W, 1, 0.1), TypeError,
         "weight must be a numpy array, got list."),
        (lambda: kernels.adagrad_update(W.copy(), W[:2], W.copy(), 0.1), ValueError,
         "gradient must have the shape of weight, (3,), got (2,)."),
    ],
)  # fmt: skip
def test_messages(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


def test_overlap_is_refused():
    memory = np.ones(40)
    a, b, c, d = memory[:9], memory[8:17], memory[20:29], memory[30:39]
    for weight, gradient, m, v in [
        (a, b, c, d), (a, c, b, d), (a, c, d, b), (c, a, b, d), (c, a, d, b), (c, d, a, b),
        (a, c, a, d), (a, c, d, a), (a, c, d, d), (a, c, c, d), (a, c, d, c),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match="out must not overlap the other arrays"):
            kernels.adam_update(weight, gradient, m, v, 1, 0.1)
    np.testing.assert_array_equal(memory, 1)
    c[:] = d[:] = 0
    kernels.adam_update(a, a, c, d, 1, 0.1)  # the gradient may be the weights themselves
    np.testing.assert_allclose(a, 0.9)
