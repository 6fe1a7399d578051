"""The public names, the twin modules and what an import costs."""

from __future__ import annotations

import ast
import inspect
import pathlib
import subprocess
import sys
import types

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import activations, losses, reference
from fastmlp.activations import ACTIVATIONS
from fastmlp.initializers import INITIALIZERS
from fastmlp.layers import LAYERS

NOT_BUILT = "the compiled kernels are not built"
PACKAGE = pathlib.Path(fm.__file__).parent

# Of the reference only: the definitions as loops over pixels.
LOOPS = {name for name in reference.__all__ if name.endswith("_loops")}


def test_every_public_name_is_there_and_documented():
    for name in fm.__all__:
        if name == "kernels":
            pytest.importorskip("fastmlp.kernels", reason=NOT_BUILT, exc_type=ImportError)
        value = getattr(fm, name)
        assert inspect.getdoc(value), name
    assert set(fm.__all__) <= set(dir(fm))
    assert fm.__all__ == sorted(fm.__all__, key=lambda n: (not n.isupper(), n.islower(), n))


def test_unknown_name():
    with pytest.raises(AttributeError, match="module 'fastmlp' has no attribute 'Dens'"):
        fm.Dens  # noqa: B018


def test_names_of_the_design_are_there():
    assert set(ACTIVATIONS) == {
        "linear", "relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "tanh", "sigmoid",
        "softmax",
    }  # fmt: skip
    assert set(INITIALIZERS) == {
        "zeros", "normal", "uniform", "glorot_uniform", "glorot", "glorot_normal", "he_normal",
        "he_uniform", "lecun_normal",
    }  # fmt: skip
    assert list(losses.LOSSES) == [
        "cross_entropy", "binary_cross_entropy", "mse", "mae", "huber", "hinge",
    ]  # fmt: skip
    assert {"Dense", "Activation", "Flatten"} <= set(LAYERS)
    assert {"Conv2D", "MaxPool2D", "AvgPool2D", "GlobalAvgPool2D"} <= set(LAYERS)


def test_signature_of_fit():
    parameters = inspect.signature(fm.Sequential.fit).parameters
    defaults = {name: p.default for name, p in list(parameters.items())[3:]}
    assert defaults == {
        "epochs": 10,
        "batch_size": 32,
        "optimizer": None,
        "loss": None,
        "validation_data": None,
        "shuffle": True,
        "callbacks": None,
        "verbose": "auto",
        "sample_weight": None,
        "metrics": None,
        "resume": None,
        "steps_per_epoch": None,
    }


def test_every_activation_has_its_operations():
    for function in ACTIVATIONS.values():
        if function.name != "linear":
            backward = getattr(reference, function.name + "_backward")
            wanted = {"input": "x", "output": "y"}[function.saves]
            assert list(inspect.signature(backward).parameters)[:2] == ["dy", wanted]
    assert activations.get(None) is activations.get("linear")


def test_kernels_are_the_twin_of_the_reference():
    kernels = pytest.importorskip("fastmlp.kernels", reason=NOT_BUILT, exc_type=ImportError)
    twins = set(reference.__all__) - LOOPS
    assert twins <= set(kernels.__all__)
    for name in sorted(twins):
        mine, theirs = (inspect.signature(getattr(m, name)) for m in (reference, kernels))
        assert [(p.name, p.kind, p.default) for p in mine.parameters.values()] == [
            (p.name, p.kind, p.default) for p in theirs.parameters.values()
        ], name


def test_loops_are_the_twin_of_the_fast_reference():
    for name in LOOPS:
        mine, theirs = (
            inspect.signature(getattr(reference, n)) for n in (name, name.removesuffix("_loops"))
        )
        assert mine == theirs, name


def test_reference_names_are_all_public_functions():
    public = {
        name
        for name, value in vars(reference).items()
        if not name.startswith("_")
        and isinstance(value, types.FunctionType)
        and value.__module__.startswith("fastmlp.reference")
    }
    assert public == set(reference.__all__)
    assert reference.__all__ == sorted(reference.__all__)


def test_the_reference_is_made_of_numpy_alone():
    # Which way the other modules import each other, import-linter checks.
    parts = sorted((PACKAGE / "reference").glob("*.py"))
    assert parts
    for path in (*parts, PACKAGE / "_windows.py", PACKAGE / "metrics.py"):
        imported = {
            alias.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        assert imported <= {"math", "numpy", "numpy.typing"}, path.name


def test_import_is_light():
    program = (
        "import sys, fastmlp\n"
        "heavy = {'tqdm', 'safetensors', 'matplotlib', 'asyncio', 'fastmlp.datasets'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"


def test_default_backend_is_one_of_the_two():
    assert fm.MLP(2, [], 2).backend in ("numpy", "kernels")


def test_examples_in_docstrings_run():
    import doctest

    for name in (
        "layers.dense",
        "layers.activation",
        "layers.convolution",
        "layers.pooling",
        "layers.flatten",
        "layers.dropout",
        "layers.noise",
        "layers.normalization",
        "layers.embedding",
        "model",
        "history",
        "callbacks.base",
        "callbacks.early_stopping",
        "callbacks.loggers",
        "callbacks.model_checkpoint",
        "callbacks.tensorboard",
        "architectures",
        "layouts",
        "gradcheck",
        "plot._confusion_matrix",
        "plot._decision_boundary",
        "plot._filters",
        "plot._gradcheck",
        "plot._history",
        "plot._layer_histograms",
        "plot._learning_curves",
        "plot._misclassified",
        "_threads",
    ):
        module = __import__(f"fastmlp.{name}", fromlist=["_"])
        assert doctest.testmod(module).failed == 0
    assert np.__version__
