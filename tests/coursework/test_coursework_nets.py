"""Update rules, networks and the trainer by the names of CS231n."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("fastmlp.kernels", reason="not built", exc_type=ImportError)

from coursework import optim
from coursework.cnn import ThreeLayerConvNet
from coursework.fc_net import FullyConnectedNet, TwoLayerNet
from coursework.gradient_check import eval_numerical_gradient, rel_error
from coursework.solver import Solver


def spaced(low, high, *shape):
    return np.linspace(low, high, num=int(np.prod(shape))).reshape(shape)


# --- Update rules -------------------------------------------------------------------------------


def test_momentum_has_the_courses_values():
    w, dw, v = (spaced(*ends, 4, 5) for ends in ((-0.4, 0.6), (-0.6, 0.4), (0.6, 0.9)))
    kept = [array.copy() for array in (w, dw, v)]
    config = {"learning_rate": 1e-3, "velocity": v}
    moved, found = optim.sgd_momentum(w, dw, config)
    assert found is config
    assert moved[0, 0] == pytest.approx(0.1406, abs=1e-12)
    assert moved[3, 4] == pytest.approx(1.4096, abs=1e-12)
    np.testing.assert_allclose(config["velocity"], 0.9 * v - 1e-3 * dw, atol=1e-15)
    assert config["velocity"][0, 0] == pytest.approx(0.5406, abs=1e-12)
    for before, after in zip(kept, (w, dw, v), strict=True):
        np.testing.assert_array_equal(before, after)


def test_rmsprop_and_adam_have_the_courses_values():
    w, dw, cache = (spaced(*ends, 4, 5) for ends in ((-0.4, 0.6), (-0.6, 0.4), (0.6, 0.9)))
    moved, config = optim.rmsprop(w, dw, {"learning_rate": 1e-2, "cache": cache})
    expected = [-0.39223849, -0.34037513, -0.28849239, -0.23659121, -0.18467247]
    np.testing.assert_allclose(moved[0], expected, atol=5e-9)
    expected = [0.5976, 0.6126277, 0.6277108, 0.64284931, 0.65804321]
    np.testing.assert_allclose(config["cache"][0], expected, atol=5e-9)
    state = {"learning_rate": 1e-2, "m": cache, "v": spaced(0.7, 0.5, 4, 5), "t": 5}
    moved, config = optim.adam(w, dw, state)
    expected = [-0.40094747, -0.34836187, -0.29577703, -0.24319299, -0.19060977]
    np.testing.assert_allclose(moved[0], expected, atol=5e-9)
    assert config["t"] == 6


def by_the_book(rule, gradients):
    """Return where a rule goes from 1 with its defaults, as its formula says."""
    w, v, m, s = 1.0, 0.0, 0.0, 0.0
    for t, g in enumerate(gradients, 1):
        if rule == "sgd":
            w -= 1e-2 * g
        elif rule == "sgd_momentum":
            v = 0.9 * v - 1e-2 * g
            w += v
        elif rule == "rmsprop":
            s = 0.99 * s + 0.01 * g * g
            w -= 1e-2 * g / (np.sqrt(s) + 1e-8)
        elif rule == "adagrad":
            s += g * g
            w -= 1e-2 * g / (np.sqrt(s) + 1e-8)
        else:
            m = 0.9 * m + 0.1 * g
            s = 0.999 * s + 0.001 * g * g
            w -= 1e-3 * (m / (1 - 0.9**t)) / (np.sqrt(s / (1 - 0.999**t)) + 1e-8)
    return w


@pytest.mark.parametrize("rule", ["sgd", "sgd_momentum", "rmsprop", "adam", "adagrad"])
def test_defaults_over_several_steps(rule):
    gradients = [0.3, -0.2, 0.5, 0.1]
    w, config = np.ones((2, 3)), None
    for gradient in gradients:
        w, config = getattr(optim, rule)(w, np.full((2, 3), gradient), config)
    np.testing.assert_allclose(w, by_the_book(rule, gradients), rtol=1e-13)
    single, _ = getattr(optim, rule)(np.ones(3, np.float32), np.ones(3), None)
    assert single.dtype == np.float32


# --- Networks -----------------------------------------------------------------------------------


def gradients_agree(net, x, y, limit, h=1e-5):
    _, grads = net.loss(x, y)
    assert set(grads) == set(net.params)
    for name, value in net.params.items():
        numeric = eval_numerical_gradient(lambda _: net.loss(x, y)[0], value, h=h)
        assert grads[name].shape == value.shape
        assert rel_error(numeric, grads[name]) < limit, name


def test_two_layer_net_has_the_courses_values():
    net = TwoLayerNet(5, 50, 7, weight_scale=1e-3)
    assert net.params["W1"].std() == pytest.approx(1e-3, rel=0.1)
    assert not net.params["b1"].any()
    for name, ends in {
        "W1": (-0.7, 0.3),
        "b1": (-0.1, 0.9),
        "W2": (-0.3, 0.4),
        "b2": (-0.9, 0.1),
    }.items():
        net.params[name] = spaced(*ends, *net.params[name].shape)
    x, y = spaced(-5.5, 4.5, 5, 3).T, np.array([0, 5, 1])
    scores = net.loss(x)
    np.testing.assert_allclose(scores[0, :2], [11.53165108, 12.2917344], rtol=0, atol=5e-9)
    np.testing.assert_allclose(scores[1:, -1], [16.18839143, 16.2846319], rtol=0, atol=5e-9)
    assert net.loss(x, y)[0] == pytest.approx(3.4702243556, abs=5e-11)
    net.reg = 1.0
    assert net.loss(x, y)[0] == pytest.approx(26.5948426952, abs=5e-11)
    for reg in (0.0, 0.7):
        net.reg = reg
        gradients_agree(net, x, y, 1e-6)


@pytest.mark.parametrize("normalization", [None, "batchnorm", "layernorm"])
@pytest.mark.parametrize("keep", [1, 0.75])
def test_gradients_of_fully_connected_nets(rng, normalization, keep):
    x, y = rng.standard_normal((4, 15)), rng.integers(10, size=4)
    net = FullyConnectedNet(
        [20, 30],
        input_dim=15,
        weight_scale=0.3,
        dtype=np.float64,
        dropout_keep_ratio=keep,
        normalization=normalization,
        reg=0.3,
        seed=123,
    )
    if normalization:
        # The bias before a normalisation has the gradient 0 and no relative error.
        loss, grads = net.loss(x, y)
        assert np.isfinite(loss)
        for name, value in net.params.items():
            numeric = eval_numerical_gradient(lambda _: net.loss(x, y)[0], value)
            np.testing.assert_allclose(grads[name], numeric, rtol=1e-5, atol=1e-8, err_msg=name)
    else:
        gradients_agree(net, x, y, 1e-6)


def test_the_first_loss_is_that_of_chance(rng):
    x, y = rng.standard_normal((50, 3, 8, 8)), rng.integers(10, size=50)
    net = FullyConnectedNet([20], input_dim=192, weight_scale=1e-4)
    loss, grads = net.loss(x, y)
    assert loss == pytest.approx(np.log(10), abs=1e-3)
    assert all(gradient.dtype == np.float32 for gradient in grads.values())
    net = ThreeLayerConvNet((3, 8, 8), num_filters=3, filter_size=3, hidden_dim=7)
    loss, _ = net.loss(x, y)
    assert loss == pytest.approx(np.log(10), abs=1e-3)
    net.reg = 0.5
    assert net.loss(x, y)[0] > loss
    assert net.loss(x).shape == (50, 10)


def test_gradients_of_the_convolutional_net(rng):
    x, y = rng.standard_normal((2, 3, 16, 16)), rng.integers(10, size=2)
    net = ThreeLayerConvNet(
        (3, 16, 16),
        num_filters=3,
        filter_size=3,
        hidden_dim=7,
        dtype=np.float64,
        reg=0.1,
        weight_scale=0.1,
    )
    gradients_agree(net, x, y, 1e-6)


def test_dropout_and_batchnorm_rest_in_prediction(rng):
    x, y = rng.standard_normal((20, 15)), rng.integers(10, size=20)
    net = FullyConnectedNet([30], 15, dropout_keep_ratio=0.5, normalization="batchnorm")
    net.loss(x, y)
    kept = net.bn_params[0]["running_mean"].copy()
    np.testing.assert_array_equal(net.loss(x), net.loss(x))
    np.testing.assert_array_equal(net.bn_params[0]["running_mean"], kept)
    assert net.loss(x, y)[0] != net.loss(x, y)[0]  # new masks
    with pytest.raises(ValueError, match='normalization must be None, "batchnorm" or'):
        FullyConnectedNet([3], normalization="groupnorm")


# --- The trainer --------------------------------------------------------------------------------


def images(rng, n=50):
    x = rng.standard_normal((n, 3, 8, 8))
    return {
        "X_train": x,
        "y_train": rng.integers(10, size=n),
        "X_val": x[:20],
        "y_val": np.zeros(20, int),
    }


@pytest.mark.parametrize("hidden", [[100, 100], [100] * 4])
def test_fifty_images_are_learnt_by_heart(rng, hidden):
    net = FullyConnectedNet(hidden, 192, weight_scale=0.1, dtype=np.float64)
    solver = Solver(
        net,
        images(rng),
        num_epochs=20,
        batch_size=25,
        update_rule="sgd",
        optim_config={"learning_rate": 1e-1},
        verbose=False,
    )
    solver.train()
    assert solver.train_acc_history[-1] == 1.0
    assert len(solver.loss_history) == 40
    assert len(solver.train_acc_history) == len(solver.val_acc_history) == 21


def test_the_solver_keeps_the_best_and_decays_the_rate(rng, capsys):
    net = TwoLayerNet(192, 10)
    config = {"learning_rate": 0.1}
    solver = Solver(
        net,
        images(rng),
        update_rule="adam",
        optim_config=config,
        lr_decay=0.5,
        batch_size=10,
        num_epochs=3,
        print_every=5,
    )
    seen, accuracies = [], iter([0.2, 0.5, 0.5, 0.3])

    def measured(x, y, *rest):
        if y is not solver.y_val:
            return 0.9
        seen.append({name: value.copy() for name, value in net.params.items()})
        return next(accuracies)

    solver.check_accuracy = measured
    solver.train()
    assert config == {"learning_rate": 0.1}
    assert {c["learning_rate"] for c in solver.optim_configs.values()} == {0.0125}
    assert {c["t"] for c in solver.optim_configs.values()} == {15}
    assert solver.val_acc_history == [0.2, 0.5, 0.5, 0.3]
    assert solver.best_val_acc == 0.5
    for name, value in seen[1].items():  # the first of the best
        np.testing.assert_array_equal(net.params[name], value)
    lines = capsys.readouterr().out.splitlines()
    assert sum("loss:" in line for line in lines) == 3
    assert lines[-1].startswith("(Epoch 3 / 3) train acc: ")


def test_the_solver_refuses_what_it_does_not_know(rng):
    net = TwoLayerNet(192, 10)
    with pytest.raises(ValueError, match="Unrecognized arguments batchsize"):
        Solver(net, images(rng), batchsize=10)
    for rule in ("lbfgs", "_filled", "np"):
        with pytest.raises(ValueError, match=f"Invalid update_rule '{rule}'"):
            Solver(net, images(rng), update_rule=rule)
