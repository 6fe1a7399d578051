"""The TensorBoard callback: its files, read back by TensorBoard itself, and what it must not do."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.callbacks import _events, _filters

pytest.importorskip("tensorboardX", reason="the extra tensorboard is not installed")
pytest.importorskip("PIL", reason="the extra tensorboard is not installed")


STATISTICS = ("min", "max", "mean", "std")


@pytest.fixture
def read():
    """Return a function that reads a folder as TensorBoard does."""
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="tensorboard, to read the files, is not installed",
    )

    def load(folder):
        everything = dict.fromkeys(("scalars", "histograms", "images", "tensors"), 0)
        board = accumulator.EventAccumulator(str(folder), size_guidance=everything)
        return board.Reload()

    return load


def points(board, tag):
    return [(event.step, event.value) for event in board.Scalars(tag)]


def as_single(values):
    return [float(np.float32(value)) for value in values]


def text_of(board, tag):
    (event,) = board.Tensors(f"{tag}/text_summary")
    return event.tensor_proto.string_val[0].decode()


def image_model(backend, activation="tanh"):
    layers = [
        fm.Conv2D(4, 3, padding="same", activation=activation),
        fm.MaxPool2D(2),
        fm.Flatten(),
        fm.Dropout(0.25),
        fm.Dense(12, use_bias=False),
        fm.BatchNorm(),
        fm.Activation("relu"),
        fm.Dense(10),
    ]
    model = fm.Sequential(layers, input_shape=(8, 8, 1), seed=4, scale=0.5)
    model.backend = backend
    return model


@pytest.fixture(scope="module")
def images():
    (x, y), _ = fm.datasets.load_digits()
    return np.asarray(x[:200]).reshape(-1, 8, 8, 1), y[:200]


def bits(model):
    return b"".join(value.tobytes() for value in model.arrays.values())


# --- Curves ---------------------------------------------------------------------------------------


def test_epochs_are_those_of_the_history(model, toy, tmp_path, read):
    held = toy[0][:40], toy[1][:40]
    board = fm.TensorBoard(tmp_path)
    settings = {"metrics": ["accuracy", "f1"], "validation_data": held}
    history = model.fit(*toy, epochs=3, batch_size=40, callbacks=[board], **settings)
    found = read(tmp_path)
    assert set(found.Tags()["scalars"]) == {f"epoch/{name}" for name in history.history}
    assert {"loss", "val_f1", "learning_rate", "time"} <= set(history.history)
    for name, values in history.history.items():
        assert points(found, f"epoch/{name}") == list(
            zip((4, 8, 12), as_single(values), strict=True)
        )
    assert found.Tags()["histograms"] == []


def test_steps(model, toy, tmp_path, read):
    class Keeper(fm.Callback):
        seen: list = []  # noqa: RUF012

        def on_batch_end(self, step, logs):
            self.seen.append((step, logs["loss"], logs["learning_rate"]))

    keeper = Keeper()
    keeper.seen = []
    board = fm.TensorBoard(tmp_path, every_steps=3, histograms=False)
    optimizer = fm.SGD(fm.ExponentialDecay(0.1, 0.9))
    model.fit(
        *toy, epochs=2, batch_size=40, optimizer=optimizer, callbacks=[keeper, board], verbose=0
    )
    found = read(tmp_path)
    due = [each for each in keeper.seen if each[0] % 3 == 0]
    assert [each[0] for each in due] == [3, 6]
    steps, losses, rates = zip(*due, strict=True)
    assert points(found, "batch/loss") == list(zip(steps, as_single(losses), strict=True))
    assert points(found, "batch/learning_rate") == list(zip(steps, as_single(rates), strict=True))
    assert found.Tags()["histograms"] == []


def test_sets_are_measured_every_so_many_steps(model, toy, tmp_path, read):
    x, y = toy
    weights = np.linspace(0.5, 2.0, 30)
    sets = {"test": (x[:50].tolist(), y[:50]), "valid.1": (x[90:120], y[90:120], weights)}

    class Measurer(fm.Callback):
        every_steps = 5
        seen: list = []  # noqa: RUF012

        def on_batch_end(self, step, logs):
            measured = [self.model.evaluate(*each) for each in sets.values()]
            self.seen.append((step, measured))

    measurer = Measurer()
    measurer.seen = []
    board = fm.TensorBoard(tmp_path, every_steps=4, validation_data=sets, validation_steps=5)
    assert board.every_steps == 1
    options = {"metrics": ["accuracy", "error"], "callbacks": [measurer, board]}
    model.fit(*toy, epochs=3, batch_size=40, **options)
    found = read(tmp_path)
    for index, name in enumerate(sets):
        for measure in ("loss", "accuracy", "error"):
            expected = [(step, values[index][measure]) for step, values in measurer.seen]
            assert [step for step, _ in expected] == [5, 10]
            assert points(found, f"{name}/{measure}") == [
                (step, float(np.float32(value))) for step, value in expected
            ]
    assert [step for step, _ in points(found, "batch/loss")] == [4, 8, 12]


def test_sets_are_measured_after_epochs_without_validation_steps(model, toy, tmp_path, read):
    board = fm.TensorBoard(tmp_path, validation_data={"test": toy})
    assert not board.watches
    model.fit(*toy, epochs=2, batch_size=50, callbacks=[board])
    last = model.evaluate(*toy)
    found = read(tmp_path)
    assert [step for step, _ in points(found, "test/loss")] == [3, 6]
    assert points(found, "test/loss")[-1][1] == np.float32(last["loss"])
    assert points(found, "test/accuracy")[-1][1] == np.float32(last["accuracy"])


# --- Layers ---------------------------------------------------------------------------------------


def test_histograms_and_statistics_of_every_layer(backend, images, tmp_path, read):
    model = image_model(backend)
    model.layers[4].l2 = 0.01
    probe = images[0][:32], images[1][:32]
    board = fm.TensorBoard(tmp_path, every_steps=4, probe=probe)
    model.fit(*images, epochs=2, batch_size=50, optimizer="adam", callbacks=[board])
    found = read(tmp_path)
    numbers = {layer.name: layer.number for layer in model.layers}

    def tag_of(name):
        layer, kind = name.split(".")
        return f"layer_{numbers[layer]}_{layer}/{kind}"

    sizes = {tag_of(name): value.size for name, value in model.arrays.items()}
    sizes |= {tag_of(name) + "_gradient": value.size for name, value in model.parameters.items()}
    for layer in model.layers:
        size = 32 * int(np.prod(layer.output_shape))
        kind = "pooled_activation" if layer.name == "maxpool2d_0" else "activation"
        if layer.name != "flatten_0":
            sizes[tag_of(f"{layer.name}.{kind}")] = size
    sizes["layer_0_conv2d_0/pre_activation"] = 32 * 8 * 8 * 4
    assert set(found.Tags()["histograms"]) == set(sizes)
    for tag, size in sizes.items():
        histograms = found.Histograms(tag)
        assert [event.step for event in histograms] == [4, 8]
        for event in histograms:
            of = event.histogram_value
            assert of.num == size == sum(of.bucket), tag
            assert len(of.bucket) == len(of.bucket_limit)
            assert np.all(np.diff(of.bucket_limit) > 0)
            assert np.isfinite([of.min, of.max, of.sum, of.sum_squares]).all()
        last = histograms[-1].histogram_value
        values = {name: points(found, f"{tag}/{name}")[-1] for name in STATISTICS}
        assert {step for step, _ in values.values()} == {8}
        assert values["min"][1] == np.float32(last.min)
        assert values["max"][1] == np.float32(last.max)
        assert values["mean"][1] == pytest.approx(last.sum / size, rel=1e-5, abs=1e-9)
        square = last.sum_squares / size - (last.sum / size) ** 2
        assert values["std"][1] ** 2 == pytest.approx(square, rel=1e-3, abs=1e-9)
    # The last look was after the last step: at the model that fit returned.
    _, gradients = model.gradients(*probe)
    expected = model.arrays | {f"{name}_gradient": value for name, value in gradients.items()}
    for name, value in expected.items():
        last = found.Histograms(tag_of(name))[-1].histogram_value
        tolerance = 1e-5 * float(np.abs(value).max())
        assert last.min == pytest.approx(value.min(), abs=tolerance)
        assert last.max == pytest.approx(value.max(), abs=tolerance)
        assert last.sum == pytest.approx(value.sum(), abs=tolerance * value.size)


def test_training_is_not_disturbed(backend, images, tmp_path):
    kinds = []
    for number, watched in enumerate((False, True)):
        model = image_model(backend, "relu")
        board = fm.TensorBoard(
            tmp_path / str(number),
            every_steps=2,
            validation_data={"test": images},
            validation_steps=3,
        )
        history = model.fit(
            *images, epochs=3, batch_size=48, optimizer="adam", callbacks=[board] if watched else []
        )
        kinds.append((bits(model), model.counters, {**history.history, "time": 0}))
    assert kinds[0] == kinds[1]


def test_embeddings_and_losses_of_numbers(backend, tmp_path, read):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 7, (60, 3)), rng.standard_normal((60, 1))
    model = fm.Sequential([fm.Embedding(7, 4, combine="concat"), fm.Dense(1)], input_shape=(3,))
    model.backend = backend
    model.fit(
        x,
        y,
        loss="mse",
        epochs=1,
        batch_size=20,
        callbacks=[fm.TensorBoard(tmp_path, every_steps=1)],
    )
    found = read(tmp_path)
    assert found.Histograms("layer_0_embedding_0/activation")[-1].histogram_value.num == 20 * 12
    assert found.Tags()["images"] == []


# --- Texts and pictures ---------------------------------------------------------------------------


def test_texts(model, toy, tmp_path, read):
    optimizer = fm.Adam(0.01, clip_norm=2.0)
    options = {"optimizer": optimizer, "metrics": ["accuracy", "error"]}
    model.fit(
        *toy,
        epochs=1,
        callbacks=[fm.TensorBoard(tmp_path)],
        validation_data=toy,
        **options,
    )
    found = read(tmp_path)
    lines = [line[4:] for line in text_of(found, "model").splitlines()]
    assert "\n".join(lines) == model.summary()
    rows = text_of(found, "settings").splitlines()
    assert rows[:2] == ["| setting | value |", "| --- | --- |"]
    assert "| optimizer | `Adam(learning_rate=0.01, clip_norm=2.0)` |" in rows
    assert "| metrics | `accuracy, error` |" in rows
    assert "| batch_size | `32` |" in rows
    assert "| samples | `150` |" in rows
    assert f"| backend | `{model.backend}` |" in rows


def test_picture_of_filters_before_and_after_every_epoch(backend, images, tmp_path, read):
    from PIL import Image

    model = image_model(backend)
    before = model.parameters["conv2d_0.weight"]
    model.fit(*images, epochs=2, batch_size=50, callbacks=[fm.TensorBoard(tmp_path)])
    pictures = read(tmp_path).Images("filters")
    assert [event.step for event in pictures] == [0, 4, 8]
    for event, weight in (
        (pictures[0], before),
        (pictures[-1], model.parameters["conv2d_0.weight"]),
    ):
        path = tmp_path / "picture.png"
        path.write_bytes(event.encoded_image_string)
        with Image.open(path) as image:
            shown = np.asarray(image)
        assert shown.shape == (event.height, event.width)
        expected = _filters.picture(np.moveaxis(weight, -1, 0))
        assert np.array_equal(shown, expected)
    assert pictures[0].encoded_image_string != pictures[-1].encoded_image_string


def test_without_images_there_is_none(images, tmp_path, read):
    model = image_model("numpy")
    model.fit(*images, epochs=1, callbacks=[fm.TensorBoard(tmp_path, images=False)])
    assert read(tmp_path).Tags()["images"] == []


# --- Files ----------------------------------------------------------------------------------------


def test_a_resumed_run_goes_on_with_its_steps(model, toy, tmp_path, read):
    """The part after the checkpoint is done twice, and shown once."""

    class Crash(fm.Callback):
        def on_batch_end(self, step, logs):
            if step == 10:
                raise RuntimeError("planned")

    whole, folder = tmp_path / "whole", tmp_path / "resumed"
    path = tmp_path / "checkpoint"
    other = model.copy()
    model.fit(*toy, epochs=4, batch_size=40, callbacks=[fm.TensorBoard(whole, every_steps=2)])

    saver = fm.ModelCheckpoint(path, every_epochs=None, every_steps=6)
    boards = [fm.TensorBoard(folder, every_steps=2), Crash(), saver]
    again = other.copy()
    with pytest.raises(RuntimeError, match="planned"):
        other.fit(*toy, epochs=4, batch_size=40, callbacks=boards)
    assert [step for step, _ in points(read(folder), "batch/loss")] == [2, 4, 6, 8, 10]
    again.fit(*toy, epochs=4, batch_size=40, callbacks=[boards[0], boards[2]], resume=path)
    assert len(list(folder.iterdir())) == 2

    expected, found = read(whole), read(folder)
    assert found.Tags()["scalars"] == expected.Tags()["scalars"]
    for tag in expected.Tags()["scalars"]:
        if tag != "epoch/time":
            assert points(found, tag) == points(expected, tag), tag
    for tag in expected.Tags()["histograms"]:
        steps = [event.step for event in found.Histograms(tag)]
        assert steps == [2, 4, 6, 8, 10, 12, 14, 16]


def test_a_new_run_replaces_what_an_older_one_left(model, toy, tmp_path, read):
    board = fm.TensorBoard(tmp_path, every_steps=1)
    model.fit(*toy, epochs=3, batch_size=50, callbacks=[board])
    model.fit(*toy, epochs=1, batch_size=50, callbacks=[board])
    found = read(tmp_path)
    assert [step for step, _ in points(found, "batch/loss")] == [1, 2, 3]
    assert points(found, "epoch/loss") == [(3, np.float32(model.history.history["loss"][0]))]


def open_files():
    folder = pathlib.Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("open files are known from /proc")
    found = [os.path.realpath(entry) for entry in folder.iterdir()]
    return [name for name in found if "tfevents" in name]


@pytest.mark.parametrize("hook", ["on_train_begin", "on_batch_end", "on_epoch_end"])
@pytest.mark.parametrize("first", [False, True])
def test_files_are_closed_and_whole_after_an_error(hook, first, model, toy, tmp_path, read):
    def fail(*_):
        raise RuntimeError("planned")

    faulty = type("Faulty", (fm.Callback,), {hook: fail})()
    board = fm.TensorBoard(tmp_path / "run", every_steps=1)
    both = [faulty, board] if first else [board, faulty]
    with pytest.raises(RuntimeError, match="planned"):
        model.fit(*toy, epochs=2, batch_size=50, callbacks=both)
    assert open_files() == []
    if hook == "on_epoch_end":
        assert [step for step, _ in points(read(tmp_path / "run"), "batch/loss")] == [1, 2, 3]


def test_a_file_is_whole_at_any_time(model, toy, tmp_path, read):
    """What is written is there at once: a killed process leaves it."""

    class Reader(fm.Callback):
        def on_batch_end(self, step, logs):
            found = [step for step, _ in points(read(tmp_path), "batch/loss")]
            assert found == list(range(1, step + 1))

    board = fm.TensorBoard(tmp_path, every_steps=1)
    model.fit(*toy, epochs=1, batch_size=50, callbacks=[board, Reader()])
    assert open_files() == []


def test_ctrl_c(model, toy, tmp_path, read, capsys):
    class Press(fm.Callback):
        def on_batch_end(self, step, logs):
            if step == 4:
                os.kill(os.getpid(), signal.SIGINT)

    board = fm.TensorBoard(tmp_path, every_steps=1)
    history = model.fit(*toy, epochs=9, batch_size=50, callbacks=[board, Press()])
    assert history.interrupted
    assert open_files() == []
    found = read(tmp_path)
    assert [step for step, _ in points(found, "batch/loss")] == [1, 2, 3, 4]
    assert [step for step, _ in points(found, "epoch/loss")] == [3]


def test_a_disk_that_is_full_ends_the_training(model, toy, tmp_path):
    board = fm.TensorBoard(tmp_path, every_steps=2)

    class Fill(fm.Callback):
        def on_batch_end(self, step, logs):
            if step == 4:
                board._file._file.close()
                board._file._file = open("/dev/full", "wb", buffering=0)

    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    with pytest.raises(OSError, match=r"No space left on device.*tfevents"):
        model.fit(*toy, epochs=2, batch_size=50, callbacks=[Fill(), board])
    assert model.steps_done == 4


def test_callbacks_are_closed_in_their_order_also_if_one_fails(model, toy):
    calls: list = []

    class Closer(fm.Callback):
        def __init__(self, name, fails=False):
            self.name, self.fails = name, fails

        def on_train_end(self):
            calls.append("end")

        def close(self):
            calls.append(self.name)
            if self.fails:
                raise OSError("planned")

    model.fit(*toy, epochs=1, callbacks=[Closer("a"), Closer("b")])
    assert calls == ["end", "end", "a", "b"]
    calls.clear()
    with pytest.raises(OSError, match="planned"):
        model.fit(*toy, epochs=1, callbacks=[Closer("a", fails=True), Closer("b")])
    assert calls == ["end", "end", "a", "b"]


# --- Messages -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"log_dir": 3}, TypeError, "log_dir must be a str or a path, got 3."),
        ({"log_dir": b"runs"}, TypeError, "log_dir must be a str or a path, got b'runs'."),
        ({"log_dir": ""}, ValueError, "log_dir must name a folder, got ''."),
        ({"every_steps": 0}, ValueError, "every_steps must be at least 1, got 0."),
        (
            {"every_steps": 2.5},
            TypeError,
            "every_steps must be an integer, got 2.5 of type float.",
        ),
        ({"images": 1}, TypeError, "images must be True or False, got 1."),
        ({"histograms": "yes"}, TypeError, "histograms must be True or False, got 'yes'."),
        (
            {"probe": [1]},
            ValueError,
            "probe must be a tuple (x, y) or (x, y, sample_weight), got 1 elements.",
        ),
        (
            {"validation_data": (1, 2)},
            TypeError,
            "validation_data must be a dict of (x, y) tuples by name, got tuple.",
        ),
        (
            {"validation_data": {}},
            ValueError,
            "validation_data must have at least one set, got {}.",
        ),
        (
            {"validation_data": {3: (1, 2)}},
            TypeError,
            "a name in validation_data must be a str, got 3.",
        ),
        (
            {"validation_data": {"a/b": (1, 2)}},
            ValueError,
            "a name in validation_data must consist of letters, digits, '_', '.' and '-', and must "
            "not be 'batch' or 'epoch', got 'a/b'.",
        ),
        (
            {"validation_data": {"epoch": (1, 2)}},
            ValueError,
            "a name in validation_data must consist of letters, digits, '_', '.' and '-', and must "
            "not be 'batch' or 'epoch', got 'epoch'.",
        ),
        (
            {"validation_data": {"test": 5}},
            ValueError,
            "validation_data['test'] must be a tuple (x, y) or (x, y, sample_weight), got int.",
        ),
        ({"validation_steps": -1}, ValueError, "validation_steps must be at least 1, got -1."),
        (
            {"validation_steps": 10},
            ValueError,
            "validation_steps requires validation_data, got validation_data=None.",
        ),
    ],
    ids=str,
)
def test_arguments_that_are_refused(arguments, error, message, tmp_path):
    with pytest.raises(error) as caught:
        fm.TensorBoard(**({"log_dir": tmp_path} | arguments))
    assert str(caught.value) == message


def test_log_dir_that_is_a_file(tmp_path):
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(ValueError) as caught:
        fm.TensorBoard(path)
    assert str(caught.value) == f"log_dir must be a folder, got the file {str(path)!r}."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"validation_data": {"test": (np.zeros((3, 5)), np.zeros(3, int))}},
            "validation_data['test'][0] must have shape (N, 6), got (3, 5).",
        ),
        (
            {"probe": (np.zeros((3, 6)), np.full(3, 9)), "every_steps": 1},
            "probe[1] must hold integer labels from 0 to 2 (the model has 3 outputs), got 9 at index "
            "0.",
        ),
        (
            {"probe": (np.zeros((3, 6)), np.zeros(3, int), [1.0])},
            "probe[2] must have shape (3,), one weight per sample, got (1,).",
        ),
    ],
    ids=str,
)
def test_samples_that_do_not_fit_are_refused_before_the_training(
    arguments, message, model, toy, tmp_path
):
    before = bits(model)
    with pytest.raises(ValueError) as caught:
        model.fit(*toy, epochs=1, callbacks=[fm.TensorBoard(tmp_path / "run", **arguments)])
    assert str(caught.value) == message
    assert bits(model) == before
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_made(model, toy, tmp_path):
    (tmp_path / "file").touch()
    before = bits(model)
    with pytest.raises(NotADirectoryError):
        model.fit(*toy, epochs=1, callbacks=[fm.TensorBoard(tmp_path / "file" / "run")])
    assert bits(model) == before


@pytest.mark.parametrize(
    ("module", "package"), [("tensorboardX", "tensorboardX"), ("PIL", "pillow")]
)
def test_without_the_extra(module, package, monkeypatch):
    for name in list(sys.modules):
        if name.partition(".")[0] == module:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError) as caught:
        fm.TensorBoard("runs")
    assert str(caught.value) == (
        f'fm.TensorBoard needs {package}: pip install "fastmlp[tensorboard]"'
    )
    assert caught.value.name == module


def test_nothing_is_imported_before_it_is_needed():
    code = (
        "import sys, fastmlp as fm; fm.MLP(2, [3], 1);"
        "sys.exit(any(name in sys.modules for name in ('tensorboardX', 'PIL')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_batches_from_python_need_samples_to_look_at(model, toy, tmp_path):
    def source():
        yield toy

    board = fm.TensorBoard(tmp_path, every_steps=1)
    with pytest.raises(ValueError, match=r"probe=\(x, y\) is required when fit takes batches"):
        model.fit(source, callbacks=[board])
    model.fit(source, callbacks=[fm.TensorBoard(tmp_path, every_steps=1, probe=toy)])
    model.fit(source, callbacks=[fm.TensorBoard(tmp_path, every_steps=1, histograms=False)])


def test_a_file_that_cannot_be_begun_is_not_left(model, toy, tmp_path, monkeypatch):
    def fails(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_events.EventFile, "_append", fails)
    with pytest.raises(OSError, match="No space"):
        model.fit(*toy, callbacks=[fm.TensorBoard(tmp_path)])
    assert list(tmp_path.iterdir()) == []
