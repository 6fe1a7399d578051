"""The public names, the twin modules and what an import costs."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pathlib
import subprocess
import sys
import types

import pytest

import fastmlp as fm
from fastmlp import activations, losses, optimizers, reference
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


def test_functions_and_classes_without_an_underscore_are_in_all():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if any(part.startswith("_") and part != "__init__" for part in parts):
            continue
        tree = ast.parse(path.read_text())
        defined = {
            node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        }
        public = {name for name in defined if not name.startswith("_")}
        if not public:
            continue
        listed: set[str] = set()
        for node in tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                listed = set(ast.literal_eval(node.value))
        assert public <= listed, f"{path}: add to __all__, or add an underscore"


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


def test_a_function_named_like_its_module_stays_a_function():
    """Importing a submodule binds its name in the package, over the function of that name."""
    pytest.importorskip("fastmlp.kernels", reason=NOT_BUILT, exc_type=ImportError)
    program = (
        "import fastmlp.gradcheck.curve, fastmlp.kernels.dense, fastmlp.reference.dropout\n"
        "import fastmlp as fm, pickle\n"
        "from fastmlp.gradcheck import GradcheckResult\n"
        "for function in (fm.gradcheck, fm.kernels.dense, fm.reference.dropout):\n"
        "    assert pickle.loads(pickle.dumps(function)) is function\n"
        "result = GradcheckResult({}, {}, {}, 0.1)\n"
        "assert pickle.loads(pickle.dumps(result)) == result\n"
        "assert type(result) is fm.GradcheckResult"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


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


EXAMPLES = [path for path in sorted(PACKAGE.rglob("*.py")) if ">>> " in path.read_text()]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_examples_in_docstrings_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some examples write files
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    name = ".".join(("fastmlp", *parts)).removesuffix(".__init__")
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0
    assert result.attempted > 0


@pytest.mark.parametrize(
    "name", [*optimizers.OPTIMIZERS, *optimizers.schedules.SCHEDULES, *INITIALIZERS]
)
def test_every_optimizer_schedule_and_initializer_has_an_example(name):
    tables = optimizers.OPTIMIZERS, optimizers.schedules.SCHEDULES, INITIALIZERS
    kind = next(table[name] for table in tables if name in table)
    assert name == "zeros" or ">>> " in kind.__doc__


@pytest.mark.parametrize("kind", [fm.Layer, *LAYERS.values(), *losses.LOSSES.values()])
def test_every_layer_and_loss_has_an_example(kind):
    assert ">>> " in kind.__doc__
