"""The contract of a layer: workspaces, configuration, repr."""

from __future__ import annotations

import json

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import initializers
from fastmlp.layers import LAYERS

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((60, 11)), np.arange(60) % 4


def test_layers_of_the_users_own_learn_of_training(backend):
    seen = []

    class Watch(fm.Layer):
        def workspace(self, n, dtype):
            return "predicts"

        def training_workspace(self, n, dtype, training):
            return training

        def forward(self, ops, x, workspace):
            if workspace == "predicts":
                seen.append(workspace)
            else:
                seen.append((workspace.seed, workspace.step, workspace.updates))
            return x.copy()

        def backward(self, ops, dy, workspace, sink, need_dx):
            return dy.copy()

    model = fm.Sequential([fm.Dense(3), Watch(), fm.Dense(4)], 11, seed=5)
    model.backend = backend
    model.fit(X, Y, 2, 30)
    assert seen == [(5, 1, True), (5, 2, True), (5, 3, True), (5, 4, True)]
    seen.clear()
    model.predict(X)
    model.evaluate(X, Y)
    model.gradients(X, Y)
    model.train_on_batch(X, Y)
    assert seen == ["predicts", "predicts", (5, 1, False), (5, 5, True)]


def test_layers_of_the_users_own_may_know_nothing_of_it(backend):
    class Plain(fm.Layer):
        def workspace(self, n, dtype):
            return np.empty((n, 3), dtype)

        def forward(self, ops, x, workspace):
            np.multiply(x, 2, out=workspace)
            return workspace

        def backward(self, ops, dy, workspace, sink, need_dx):
            return 2 * dy

    model = fm.Sequential([fm.Dense(3), Plain(), fm.Dropout(0.5), fm.Dense(4)], 11, "float64")
    model.backend = backend
    assert fm.gradcheck(model, X[:4], Y[:4]).passed
    model.fit(X, Y, 2, 30)


def test_layers_describe_themselves():
    assert repr(fm.Dense(3, activation="relu")) == "Dense(3, activation='relu')"
    assert repr(fm.Dense(3)) == "Dense(3)"
    assert repr(fm.Activation("relu")) == "Activation('relu')"
    assert repr(fm.Flatten()) == "Flatten()"


@pytest.mark.parametrize(
    "layer",
    [
        fm.Dense(3, "tanh", "he_normal", False),
        fm.Dense(2, bias_init=initializers.Normal(0.5)),
        fm.Activation("gelu"),
        fm.Flatten(),
        fm.Dropout(0.25),
        fm.GaussianNoise(0.5),
        fm.BatchNorm(0.8, 1e-3),
        fm.LayerNorm(1e-3),
        fm.Embedding(7, 3, "sum", "uniform"),
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
