"""Gradients by central differences, with the interface of CS231n."""

import numpy as np


def rel_error(x, y):
    """Return the largest ``abs(x - y) / max(1e-8, abs(x) + abs(y))``."""
    return np.max(np.abs(x - y) / np.maximum(1e-8, np.abs(x) + np.abs(y)))


def eval_numerical_gradient(f, x, verbose=False, h=1e-5):
    """Return the gradient at x of a function whose result is a number.

    x is changed in place while f is called, and restored at the end. Therefore f may read x itself
    instead of its argument. verbose is accepted for compatibility and prints nothing.
    """
    return eval_numerical_gradient_array(f, x, 1.0, h)


def eval_numerical_gradient_array(f, x, df, h=1e-5):
    """Return the gradient at x of ``sum(f(x) * df)``, for a function whose result is an array."""
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        kept = x[index]
        x[index] = kept + h
        above = np.array(f(x))
        x[index] = kept - h
        below = np.array(f(x))
        x[index] = kept
        gradient[index] = np.sum((above - below) * df) / (2 * h)
    return gradient
