"""Update rules with the interface of CS231n: ``(w, dw, config) -> (next_w, config)``.

``config`` is a dict with the settings and the state of a rule; missing entries are filled in, and
None means all defaults. ``w``, ``dw`` and arrays in ``config`` are not changed: ``next_w`` and the
new state are new arrays.
"""

import numpy as np

from fastmlp import kernels


def sgd(w, dw, config=None):
    """Step against the gradient: ``w - learning_rate * dw``; learning_rate is 1e-2."""
    config = _filled(config, learning_rate=1e-2)
    w, dw = _weight(w), _like(dw, w)
    kernels.sgd_update(w, dw, config["learning_rate"])
    return w, config


def sgd_momentum(w, dw, config=None):
    """Step along a velocity: ``v = momentum * v - learning_rate * dw``, ``w + v``.

    Settings: learning_rate 1e-2, momentum 0.9. State: velocity.
    """
    config = _filled(config, learning_rate=1e-2, momentum=0.9)
    w, dw = _weight(w), _like(dw, w)
    # The kernel's velocity is momentum * v + gradient, and is subtracted from the weight.
    against = -_state(config, "velocity", w)
    step = config["learning_rate"] * dw
    kernels.sgd_update(w, step, 1.0, velocity=against, momentum=config["momentum"])
    config["velocity"] = -against
    return w, config


def rmsprop(w, dw, config=None):
    """Divide by the root of a running mean of squares.

    ``cache = decay_rate * cache + (1 - decay_rate) * dw**2``, ``w - learning_rate * dw /
    (sqrt(cache) + epsilon)``. Settings: learning_rate 1e-2, decay_rate 0.99, epsilon 1e-8. State:
    cache.
    """
    config = _filled(config, learning_rate=1e-2, decay_rate=0.99, epsilon=1e-8)
    w, dw = _weight(w), _like(dw, w)
    config["cache"] = _state(config, "cache", w)
    kernels.rmsprop_update(
        w,
        dw,
        config["cache"],
        config["learning_rate"],
        rho=config["decay_rate"],
        eps=config["epsilon"],
    )
    return w, config


def adam(w, dw, config=None):
    """Adam, with corrected means; ``t`` is 1 in the first step (Kingma and Ba 2015, algorithm 1).

    Settings: learning_rate 1e-3, beta1 0.9, beta2 0.999, epsilon 1e-8. State: m, v and t.
    """
    config = _filled(config, learning_rate=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8, t=0)
    w, dw = _weight(w), _like(dw, w)
    config["m"], config["v"] = _state(config, "m", w), _state(config, "v", w)
    config["t"] += 1
    kernels.adam_update(
        w,
        dw,
        config["m"],
        config["v"],
        config["t"],
        config["learning_rate"],
        beta1=config["beta1"],
        beta2=config["beta2"],
        eps=config["epsilon"],
    )
    return w, config


def adagrad(w, dw, config=None):
    """Divide by the root of the sum of squares: ``w - learning_rate * dw / (sqrt(cache) + eps)``.

    Settings: learning_rate 1e-2, epsilon 1e-8. State: cache.
    """
    config = _filled(config, learning_rate=1e-2, epsilon=1e-8)
    w, dw = _weight(w), _like(dw, w)
    config["cache"] = _state(config, "cache", w)
    kernels.adagrad_update(w, dw, config["cache"], config["learning_rate"], eps=config["epsilon"])
    return w, config


def _filled(config, **defaults):
    """Add the missing settings to config and return it; callers read the result from their dict."""
    config = {} if config is None else config
    for name, value in defaults.items():
        config.setdefault(name, value)
    return config


def _weight(w):
    """Return a copy that a kernel may write to."""
    dtype = np.float32 if np.asarray(w).dtype == np.float32 else np.float64
    return np.array(w, dtype, order="C")


def _like(dw, w):
    return np.asarray(dw).astype(w.dtype, copy=False)


def _state(config, name, w):
    """Return a copy of a state, zeros at first."""
    if name not in config:
        return np.zeros_like(w)
    return np.array(config[name], w.dtype, order="C")
