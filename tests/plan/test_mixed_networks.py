"""Random networks with dropout, noise, normalization and embeddings between other layers."""

from __future__ import annotations

import numpy as np
import pytest
from comparing import near
from random_networks import OPTIMIZERS, draw_mixed

import fastmlp as fm

pytest.importorskip("fastmlp.kernels", reason="not built", exc_type=ImportError)

PARTS = range(6)


def arrays(model):
    return model.parameters | model.buffers


@pytest.mark.parametrize("part", PARTS)
def test_a_random_network_trains_as_the_reference_does(part, eager_threads):
    for seed in range(20 * part, 20 * part + 20):
        case = draw_mixed(seed)
        eager_threads((1, 2, 3)[seed % 3])
        found = []
        for backend in ("numpy", "kernels"):
            model = case.build("float64", backend)
            loss, gradients = model.gradients(case.x, case.y, case.loss)
            before = model.predict(case.x)
            history = case.fit(model).history
            after = model.predict(case.x)
            found.append((loss, gradients, before, arrays(model), after, history, model.steps_done))
        (loss, gradients, *one), (wanted, expected, *other) = found
        assert loss == pytest.approx(wanted, rel=1e-11, abs=1e-300), case
        for name in expected:
            near(gradients[name], expected[name], 1e-10, (name, case))
        near(one[0], other[0], 1e-11, case)
        for name in other[1]:
            near(one[1][name], other[1][name], 1e-7, (name, case))
        near(one[2], other[2], 1e-7, case)
        for name in ("loss", "val_loss"):
            near(one[3][name], other[3][name], 1e-7, (name, case))
        assert one[4] == other[4]


@pytest.mark.parametrize("part", PARTS)
def test_what_was_in_the_arena_does_not_matter(part, poisoned_arenas, eager_threads):
    for seed in range(100 + 15 * part, 115 + 15 * part):
        case = draw_mixed(seed)
        eager_threads(1 + seed % 2)
        clean, model = (case.build("float32", "kernels") for _ in range(2))
        case.fit(clean)
        with poisoned_arenas():
            case.fit(model)
        for name, value in arrays(model).items():
            np.testing.assert_array_equal(value, arrays(clean)[name], str(case))


@pytest.mark.parametrize("seed", range(200, 220))
def test_threads_do_not_change_a_bit(seed, eager_threads):
    case = draw_mixed(seed)
    runs = []
    for threads in (1, 2, 3, 4, 8):
        eager_threads(threads)
        model = case.build(("float32", "float64")[seed % 2], "kernels")
        case.fit(model)
        left = [*arrays(model).values(), model.predict(case.x)]
        left += model.gradients(case.x, case.y, case.loss)[1].values()
        runs.append([array.tobytes() for array in left])
    assert all(run == runs[0] for run in runs), case


@pytest.mark.parametrize("seed", range(300, 330))
def test_a_file_goes_on_where_the_model_was(seed, tmp_path):
    case = draw_mixed(seed)
    model = case.build("float64", "kernels")
    case.fit(model, 1)
    model.save(tmp_path / "m.safetensors")
    loaded = fm.load_model(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(loaded.predict(case.x), model.predict(case.x), str(case))
    for each in (model, loaded):
        each.compile(optimizer=OPTIMIZERS[case.optimizer](), loss=case.loss)
        case.fit(each, 1)
    for name, value in arrays(model).items():
        np.testing.assert_array_equal(arrays(loaded)[name], value, str(case))


def test_every_part_has_its_turn():
    cases = [draw_mixed(seed) for seed in range(120)]
    used = {kind for case in cases for kind, _ in case.specification}
    wanted = {"Dropout", "GaussianNoise", "BatchNorm", "LayerNorm", "Embedding", "Conv2D", "Dense"}
    assert used >= wanted | {"MaxPool2D", "Flatten", "Activation"}
    assert {case.optimizer for case in cases} == set(OPTIMIZERS)
