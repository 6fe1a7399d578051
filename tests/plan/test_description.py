"""``model.plan()``: the operations of a plan and their table."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp as fm

pytest.importorskip("fastmlp.kernels", reason="not built", exc_type=ImportError)


def test_plan_shows_what_is_done(eager_threads):
    eager_threads(2)
    layers = [fm.Dense(32, activation="relu"), fm.Activation("tanh"), fm.Dense(16), fm.Dense(10)]
    plan = fm.Sequential(layers, 64, seed=1).plan(batch_size=128)
    shown = [(op.kind, op.layer, op.shape) for op in plan.operations]
    assert shown == [
        ("gather", "", "(128, 64)"),
        ("dense", "dense_0", "(128, 64) @ (64, 32)"),
        ("activation", "activation_0", "(128, 32)"),
        ("dense", "dense_1", "(128, 32) @ (32, 16)"),
        ("dense", "dense_2", "(128, 16) @ (16, 10)"),
        ("cross_entropy", "", "(128, 10)"),
        ("dense_backward", "dense_2", "(128, 10) @ (10, 16)"),
        ("dense_update", "dense_2", "(16, 128) @ (128, 10)"),
        ("dense_backward", "dense_1", "(128, 16) @ (16, 32)"),
        ("dense_update", "dense_1", "(32, 128) @ (128, 16)"),
        ("activation_backward", "dense_0", "(128, 32)"),
        ("dense_update", "dense_0", "(64, 128) @ (128, 32)"),
    ]
    fused = {(op.kind, op.layer): op.fused for op in plan.operations}
    assert fused["dense", "dense_0"] == ["bias", "relu"]
    assert fused["activation", "activation_0"] == ["tanh"]
    assert fused["cross_entropy", ""] == ["gradient"]
    assert fused["dense_backward", "dense_1"] == ["tanh'"]
    assert fused["dense_update", "dense_0"] == ["bias gradient", "sgd"]
    products = [op.flops for op in plan.operations if "@" in op.shape]
    assert sum(products) == 2 * 128 * (2 * 64 * 32 + 3 * 32 * 16 + 3 * 16 * 10)
    assert (plan.threads, plan.rows) == (2, 128)
    assert {op.threads for op in plan.operations} == {2}
    assert [op.barrier for op in plan.operations if op.kind == "dense_update"] == [False] * 3


def test_plan_prints_a_table():
    lines = str(fm.MLP(4, [3], 2, scale=0.5).plan(8)).splitlines()
    titles = ["operation", "layer", "shapes", "fused", "MFLOP", "KiB", "threads"]
    assert lines[0].split() == titles
    assert set(lines[1]) == set(lines[-2]) == {"-"}
    assert lines[2].split()[:4] == ["gather", "(8,", "4)", "scale"]
    assert "scale 0.5" in lines[2]
    assert [line.split()[0] for line in lines[2:-2]] == [
        "gather", "dense", "dense", "cross_entropy", "dense_backward", "dense_update",
        "dense_update",
    ]  # fmt: skip
    assert lines[-1].startswith("batches of 8: 0.00 MFLOP a step, ")
    assert lines[-1].endswith("KiB of arena; | all threads meet")


@pytest.mark.parametrize(
    ("purpose", "kinds"),
    [
        ("predict", ["dense", "dense", "output"]),
        ("evaluate", ["dense", "dense", "cross_entropy"]),
        (
            "gradients",
            ["dense", "dense", "cross_entropy", "dense_backward", "dense_update", "dense_update"],
        ),
    ],
)
@pytest.mark.parametrize(("hidden", "copied"), [(3, ["gather"]), (40, [])])
def test_plan_of_another_purpose(purpose, kinds, hidden, copied):
    plan = fm.MLP(4, [hidden], 2).plan(purpose=purpose)
    assert [op.kind for op in plan.operations] == copied + kinds
    assert plan.rows == 32
    if purpose == "gradients":
        assert plan.operations[-1].fused[-1] == "store"


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0."),
        ({"batch_size": 1.5}, TypeError, "batch_size must be an integer, got 1.5"),
        (
            {"purpose": "learn"},
            ValueError,
            "purpose must be one of train, evaluate, predict, gradients, got 'learn'.",
        ),
        ({"purpose": None}, TypeError, "purpose must be one of"),
    ],
)
def test_plan_refuses(arguments, error, text):
    with pytest.raises(error) as caught:
        fm.MLP(4, [3], 2).plan(**arguments)
    assert str(caught.value).startswith(text)


def test_the_reference_has_no_plan():
    model = fm.MLP(4, [3], 2)
    model.backend = "numpy"
    with pytest.raises(ValueError) as caught:
        model.plan()
    assert str(caught.value) == 'plan: only the "kernels" backend has plans, got backend "numpy".'


def test_looking_at_the_plan_changes_nothing(toy):
    model, other = (fm.MLP(6, [9], 3) for _ in range(2))
    for each in (model, other):
        each.fit(*toy, epochs=1, optimizer=fm.SGD(0.1, momentum=0.9))
        if each is model:
            for purpose in ("train", "evaluate", "predict", "gradients"):
                str(model.plan(purpose=purpose))
        each.fit(*toy, epochs=1)
    np.testing.assert_array_equal(model.predict(toy[0]), other.predict(toy[0]))
