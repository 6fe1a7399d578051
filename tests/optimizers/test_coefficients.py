"""The rows of coefficients that optimizers hand to compiled plans do the steps of ``update``."""

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import reference
from fastmlp.optimizers.base import MAX_COEFFICIENTS

kernels = pytest.importorskip("fastmlp.kernels", reason="not built", exc_type=ImportError)
elementwise = pytest.importorskip("fastmlp._compiled.elementwise")

STEPS = 10
OPTIMIZERS = [
    fm.SGD(0.1),
    fm.SGD(0.1, weight_decay=0.2),
    fm.SGD(0.1, momentum=0.9, weight_decay=0.2),
    fm.SGD(0.1, momentum=0.9, nesterov=True),
    fm.Adagrad(0.1, eps=1e-3),
    fm.RMSprop(0.1, rho=0.8, weight_decay=0.2),
    fm.Adam(0.1, beta1=0.8, beta2=0.95, eps=1e-3),
    fm.Adam(weight_decay=0.2),
    fm.AdamW(0.1, weight_decay=0.2),
]


def test_kinds_are_those_of_the_table():
    assert {optimizer.kind for optimizer in OPTIMIZERS} == set(elementwise.UPDATE_RULES)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_coefficients_do_the_steps_of_update(optimizer, dtype):
    """A row a step, whichever the first one is, does what update does through the kernels."""
    n, rng = 37, np.random.default_rng(42)
    weight = rng.standard_normal(n).astype(dtype)
    gradients = rng.standard_normal((STEPS, n)).astype(dtype)
    arrays = [np.zeros(n, dtype) for _ in optimizer.slots]
    other, state = weight.copy(), {s: np.zeros(n, dtype) for s in optimizer.slots}
    rates = np.full(STEPS, optimizer.learning_rate)
    rows = np.concatenate(
        [optimizer.coefficients(1, rates[:4]), optimizer.coefficients(5, rates[4:])]
    )
    assert rows.dtype == np.float64
    assert rows.shape == (STEPS, MAX_COEFFICIENTS)
    for step, gradient in enumerate(gradients, 1):
        row = tuple(rows[step - 1])
        assert (
            elementwise.update(
                elementwise.UPDATE_RULES[optimizer.kind], weight, gradient, tuple(arrays), row
            )
            is weight
        )
        optimizer.update(kernels, other, gradient, state, step, optimizer.learning_rate)
        eps = np.finfo(dtype).eps
        for one, two in zip([weight, *arrays], [other, *state.values()], strict=True):
            np.testing.assert_allclose(one, two, rtol=4 * eps, atol=4 * eps)


def test_coefficients_of_far_steps():
    adam = fm.Adam(0.5)
    assert adam.coefficients(3, np.empty(0)).shape == (0, MAX_COEFFICIENTS)
    with np.errstate(all="raise"):
        far = adam.coefficients(10**7, np.full(3, 0.5))
    np.testing.assert_array_equal(far, [[0.5, 0, 1e-8, 0.9, 0.999, 0.5, 1, 0]] * 3)
    first = adam.coefficients(1, np.array([0.5]))[0]
    np.testing.assert_allclose(first[5:7], [0.5 / (1 - 0.9), (1 - 0.999) ** -0.5], rtol=1e-15)


def test_momentum_of_a_course():
    """A value known from a course, whose velocity is a step: -learning_rate times ours."""
    shape, rate = (4, 5), 1e-3
    for ops in (kernels, reference):
        weight = np.linspace(-0.4, 0.6, 20).reshape(shape)
        gradient = np.linspace(-0.6, 0.4, 20).reshape(shape)
        velocity = np.linspace(0.6, 0.9, 20).reshape(shape) / -rate
        ops.sgd_update(weight, gradient, rate, velocity=velocity, momentum=0.9)
        assert weight[0, 0] == pytest.approx(0.1406, abs=1e-12)
        assert weight[3, 4] == pytest.approx(1.4096, abs=1e-12)
