"""``fastmlp train``: networks, schedules, callbacks, checkpoints and what is refused."""

from __future__ import annotations

import csv
import os
import re
import sys

import numpy as np
import pytest

import fastmlp as fm

SHORT = ("--epochs", 2, "--hidden", 8)


def kinds(path):
    return [type(layer).__name__ for layer in fm.load_model(path).layers]


def test_convolutions_then_hidden_layers(tmp_path, run):
    path = tmp_path / "m"
    status, _, err = run("train", *SHORT, "--conv", "4x3", "--avg-pool", 2, "--conv", "6x2/1",
                           "--padding", "same", "--dropout", 0.2, "--batch-norm",
                           "--l2", "1e-3", "--save", path)  # fmt: skip
    assert (status, err) == (0, "")
    block = ["BatchNorm", "Activation"]
    assert kinds(path) == ["Conv2D", *block, "AvgPool2D", "Conv2D", *block, "Flatten",
                           "Dense", *block, "Dropout", "Dense"]  # fmt: skip
    model = fm.load_model(path)
    assert model.input_shape == (8, 8, 1)
    weighted = [layer for layer in model.layers if isinstance(layer, (fm.Conv2D, fm.Dense))]
    assert {layer.l2 for layer in weighted} == {1e-3}
    assert run("evaluate", path).status == 0


def test_a_network_without_hidden_layers(tmp_path, run):
    path = tmp_path / "m"
    assert run("train", "--epochs", 1, "--conv", "4x3", "--global-pool", "--hidden", "none",
               "--save", path).status == 0  # fmt: skip
    assert kinds(path) == ["Conv2D", "GlobalAvgPool2D", "Dense"]


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (["--schedule", "cosine"], "CosineDecay(0.1, 324)"),
        (["--schedule", "step:1:0.5"], "StepDecay(0.1, 1, factor=0.5, unit='epoch')"),
        (["--schedule", "step:3"], "StepDecay(0.1, 3, unit='epoch')"),
        (["--schedule", "exponential:0.9"], "ExponentialDecay(0.1, 0.9, unit='epoch')"),
        (["--schedule", "plateau:2:0.3"], "ReduceOnPlateau(0.1, factor=0.3, patience=2)"),
        (["--warmup", "0.5"], "Warmup(81, 0.1)"),
        (["--warmup", "1", "--schedule", "cosine"], "Warmup(162, CosineDecay(0.1, 162))"),
        (["--momentum", "0.9", "--nesterov"], "momentum=0.9, nesterov=True"),
        (["--weight-decay", "1e-4"], "weight_decay=0.0001"),
        (["--clip-norm", "1"], "clip_norm=1.0"),
        (["--clip-value", "0.5"], "clip_value=0.5"),
    ],
)
def test_schedules_and_settings_of_the_optimizer(options, shown, run):
    status, out, err = run("train", *SHORT, "--lr", "0.1", *options)
    assert (status, err) == (0, "")
    assert shown in out.splitlines()[2]


@pytest.mark.parametrize(
    ("options", "rate"),
    [
        ([], 0.2),
        (["--conv", "2x3"], 0.1),
        (["--momentum", "0.9"], 0.02),
        (["--loss", "hinge"], 0.01),
        (["--loss", "hinge", "--momentum", "0.5"], 0.005),
        (["--lr", "0.3", "--momentum", "0.9"], 0.3),
    ],
)
def test_the_default_rate_suits_the_settings(options, rate, run):
    out = run("train", *options, "--print-config").out
    assert f"lr = {rate}\n" in out


def test_the_schedule_changes_the_rate(tmp_path, run):
    path = tmp_path / "log.csv"
    assert run("train", *SHORT, "--lr", 0.1, "--schedule", "step:1:0.5", "--csv", path).status == 0
    with open(path, newline="") as file:
        rates = [float(row["learning_rate"]) for row in csv.DictReader(file)]
    assert rates == [0.1, 0.05]


def test_early_stopping(run):
    status, out, _ = run("train", "--hidden", 8, "--epochs", 50, "--lr", 0, "--early-stopping", 3)
    assert status == 0
    assert "for 4 of 50 epochs" in out
    told = "stopped after epoch 4: val_loss did not improve for 3 epochs; the weights are from epoch 1\n"
    assert told in out
    assert "stopped" not in run("train", *SHORT, "--early-stopping", 3).out
    message = run("train", *SHORT, "--early-stopping", 3, "--monitor", "val_f1").err
    assert "val_f1" in message


def test_the_epoch_named_is_that_of_the_weights(tmp_path, run):
    best, saved = tmp_path / "best", tmp_path / "m"
    options = ("--hidden", 8, "--lr", 1, "--early-stopping", 2, "--save", saved)
    out = run("train", *options, "--epochs", 100).out
    found = re.search(
        r"stopped after epoch (\d+): val_loss did not improve for 2 epochs; .* epoch (\d+)", out
    )
    end, epoch = map(int, found.groups())
    assert end == epoch + 2
    assert run("train", "--hidden", 8, "--lr", 1, "--epochs", epoch, "--save", best).status == 0
    parameters = fm.load_model(saved).parameters
    for name, value in fm.load_model(best).parameters.items():
        np.testing.assert_array_equal(parameters[name], value)


def test_metrics_are_measured(run):
    _, out, _ = run("train", *SHORT, "--metrics", "error,top_3")
    assert "val_top_3" in out
    test = out.splitlines()[-2].split()
    assert test[0] == "test"
    assert test[1::2] == ["loss", "error", "top_3"]


def test_a_resumed_run_ends_with_the_same_bits(tmp_path, run):
    whole, parts, checkpoint = tmp_path / "whole", tmp_path / "parts", tmp_path / "c"
    common = ("--hidden", 8, "--optimizer", "adam", "--dropout", 0.3)
    assert run("train", *common, "--epochs", 4, "--save", whole).status == 0
    assert run("train", *common, "--epochs", 2, "--checkpoint", checkpoint).status == 0
    status, out, _ = run("train", *common, "--epochs", 4, "--checkpoint", checkpoint, "--resume",
                         "--save", parts)  # fmt: skip
    assert status == 0
    assert f"resumed from {checkpoint}" in out
    assert "epoch 3/4" in out and "epoch 2/4" not in out
    assert whole.read_bytes() == parts.read_bytes()


def test_a_resumed_run_counts_its_own_epochs(tmp_path, run):
    path = tmp_path / "c"
    common = ("--hidden", 8, "--checkpoint", path, "--resume")
    assert "s for 2 of 2 epochs\n" in run("train", *common, "--epochs", 2).out
    out = run("train", *common, "--epochs", 3).out
    assert "s for 1 of 1 epochs\n" in out
    for epochs in (3, 2):
        status, out, err = run("train", *common, "--epochs", epochs, "--save", tmp_path / "m")
        assert (status, err) == (0, "")
        assert "nothing to train: the checkpoint has 3 epochs; increase --epochs\n" in out
        assert "time" not in out
        assert f"model  {tmp_path / 'm'}\n" in out  # the model of the checkpoint


def test_resume_begins_anew_without_a_checkpoint(tmp_path, run):
    path = tmp_path / "c"
    options = ("--checkpoint", path, "--checkpoint-steps", 50, "--resume")
    status, out, _ = run("train", *SHORT, *options)
    assert status == 0
    assert "epoch 1/2" in out
    status, out, _ = run("train", "--hidden", 8, "--epochs", 3, "--resume", path)
    assert (status, "epoch 3/3" in out) == (0, True)


def test_bytes_are_scaled(tmp_path, run):
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    x = (
        rng.integers(0, 80, (90, 6, 6))
        + 80 * np.eye(3, dtype=int).repeat(12, 1).reshape(3, 6, 6)[y]
    )
    np.savez(tmp_path / "d.npz", x=x.astype(np.uint8), y=y)
    model = tmp_path / "m"
    assert run("train", tmp_path / "d.npz", "--hidden", 8, "--save", model, "--quiet").status == 0
    assert fm.load_model(model).scale == pytest.approx(1 / 255)
    assert "accuracy 1.0000" in run("evaluate", model, tmp_path / "d.npz").out


def test_numbers_and_answers_can_be_learnt(tmp_path, run):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 3))
    np.savez(tmp_path / "n.npz", x=x, y=x @ np.array([1.0, 2.0, -1.0]))
    model = tmp_path / "m"
    status, out, _ = run("train", tmp_path / "n.npz", "--loss", "mse", "--hidden", "none", "--lr",
                         0.05, "--metrics", "r2", "--save", model)  # fmt: skip
    assert status == 0
    assert "r2 1.0000" in out
    assert run("predict", model, tmp_path / "n.npz").out.startswith("outputs_0\n")
    np.savez(tmp_path / "b.npz", x=x, y=(x[:, 0] > 0).astype(int))
    assert run("train", tmp_path / "b.npz", "--loss", "binary_cross_entropy", "--hidden", 8,
               "--save", model).status == 0  # fmt: skip
    assert fm.load_model(model).output_shape == (1,)


def test_label_smoothing(tmp_path, run):
    assert run("train", *SHORT, "--label-smoothing", 0.1, "--save", tmp_path / "m").status == 0
    assert fm.load_model(tmp_path / "m").loss.label_smoothing == 0.1


def test_a_missing_tensorboard_is_told_before_training(tmp_path, run, monkeypatch):
    def missing(*_: object, **__: object) -> None:
        raise ImportError('TensorBoard needs x: pip install "fastmlp[tensorboard]"')

    monkeypatch.setattr(fm, "TensorBoard", missing, raising=False)
    status, out, err = run("train", "--tensorboard", tmp_path / "logs")
    assert (status, out) == (2, "")
    assert 'pip install "fastmlp[tensorboard]"' in err


def test_tensorboard_is_given_to_fit(tmp_path, run, monkeypatch):
    seen = []

    class Recorder(fm.Callback):
        def __init__(self, folder: str, every_steps: int | None) -> None:
            self.folder, self.every = folder, every_steps

        def on_epoch_end(self, epoch, logs):
            seen.append((self.folder, self.every, epoch))

    monkeypatch.setattr(fm, "TensorBoard", Recorder, raising=False)
    assert run("train", *SHORT, "--tensorboard", "logs", "--tensorboard-steps", 7).status == 0
    assert seen == [("logs", 7, 1), ("logs", 7, 2)]


def test_without_matplotlib_the_extra_is_named(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    status, out, err = run("train", "--plot", "curve.png")
    assert (status, out) == (2, "")
    assert 'pip install "fastmlp[plot]"' in err


@pytest.mark.skipif(not hasattr(fm, "TensorBoard"), reason="there is no TensorBoard")
def test_tensorboard_writes_events(tmp_path, run):
    pytest.importorskip("tensorboardX")
    pytest.importorskip("PIL")
    assert run("train", *SHORT, "--tensorboard", tmp_path / "logs").status == 0
    assert list((tmp_path / "logs").rglob("events.*"))


@pytest.mark.skipif(not hasattr(fm, "Standardize"), reason="there is no Standardize")
def test_standardize(tmp_path, run):
    rng = np.random.default_rng(0)
    x, y = 1000 + 50 * rng.standard_normal((200, 3)), np.arange(200) % 2
    np.savez(tmp_path / "d.npz", x=x + 100 * y[:, None], y=y)
    path = tmp_path / "m"
    status, out, _ = run(
        "train", tmp_path / "d.npz", "--epochs", 10, "--hidden", 8, "--standardize", "--save", path
    )
    assert status == 0
    assert kinds(path)[0] == "Standardize"
    assert float(out.split("accuracy ")[-1].split("%")[0]) >= 90


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--conv", "32"], "--conv must be FILTERSxSIZE or FILTERSxSIZE/STRIDES, such as 32x5"),
        (["--pool", "two"], "--pool must be SIZE or SIZE/STRIDES, such as 2 or 3/2, got 'two'."),
        (["--conv", "4x9"], "kernel_size"),
        (["--conv", "4x3/0"], "strides must be at least 1, got 0."),
        (["--pool", "2/0"], "strides must be at least 1, got 0."),
        (["--schedule", "cosinus"], "--schedule must be cosine, step:EPOCHS[:FACTOR]"),
        (["--schedule", "step:0.5"], "--schedule must be cosine"),
        (["--schedule", "step:x"], "--schedule must be cosine"),
        (["--schedule", "cosine:3"], "--schedule must be cosine"),
        (["--warmup", "2"], "--warmup must be at least 0 and below --epochs (2), got 2."),
        (["--optimizer", "adam", "--momentum", "0.9"], "--momentum is not a setting of adam"),
        (["--clip-norm", "0"], "clip_norm must be above 0"),
        (["--clip-norm", "1", "--clip-value", "1"], "cannot both be set"),
        (["--momentum", "2"], "momentum must be"),
        (["--momentum=-1"], "momentum must be"),
        (["--nesterov"], "momentum must be above 0 with nesterov=True"),
        (["--loss", "mse", "--label-smoothing", "0.1"], "--label-smoothing is for cross_entropy"),
        (["--checkpoint-steps", "5"], "--checkpoint-steps needs --checkpoint FILE."),
        (["--tensorboard-steps", "5"], "--tensorboard-steps needs --tensorboard DIR."),
        (["--resume"], "--resume needs a file"),
        (["--resume", "/no/such"], "--resume: the checkpoint /no/such does not exist."),
        (["--report", "run.pdf"], "--report must end in .html, got 'run.pdf'."),
        (["--report", "/no/such/run.html"], "--report /no/such/run.html: the folder /no/such does"),
        (["--save", ""], "--save must be the name of a file, got ''."),
        (["--report", ""], "--report must be the name of a file, got ''."),
        (["--plot", ""], "--plot must be the name of a file, got ''."),
        (["--csv", ""], "--csv must be the name of a file, got ''."),
        (["--checkpoint", ""], "--checkpoint must be the name of a file, got ''."),
        (["--config", ""], "--config must be the name of a file, got ''."),
        (["--save-config", ""], "--save-config must be the name of a file, got ''."),
        (["--tensorboard", ""], "--tensorboard must be the name of a folder, got ''."),
        (["--data", ""], "--data must be the name of a file or a folder, got ''."),
        (["--resume", ""], "--resume must be the name of a file, got ''."),
        (["--save", "m" * 300], "File name too long; nothing was written"),
        (["--checkpoint", "m" * 250], "choose a shorter name"),
        (["--save", "a.x", "--csv", "./a.x"], "--save and --csv must name different files"),
        (["--hidden", "0"], "--hidden must be at least 1, got 0."),
        (["--dropout", "1.5"], "--dropout must be at least 0 and below 1, got 1.5."),
        (["--lr", "-1"], "--lr must be finite and at least 0, got -1.0."),
        (["--lr", "-1", "--schedule", "cosine"], "--lr must be finite and at least 0, got -1.0."),
        (["--early-stopping", "0"], "--early-stopping must be at least 1, got 0."),
        (["--checkpoint", "c", "--checkpoint-steps", "0"], "--checkpoint-steps must be at least 1"),
        (["--tensorboard", "t", "--tensorboard-steps", "0"], "--tensorboard-steps must be at leas"),
        (["--tensorboard", "/dev/null"], "--tensorboard must name a folder, got the file '/dev/"),
        (["--batch-size", "0"], "batch_size must be at least 1"),
        (["--seed", "-1"], "seed must be at least 0"),
    ],
)  # fmt: skip
def test_what_is_refused(options, message, tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = run("train", *SHORT, *options)
    assert (status, err.count("\n")) == (2, 1)
    assert err.startswith("fastmlp: error: ")
    assert message in err
    assert "epoch" not in out
    assert list(tmp_path.iterdir()) == []  # nothing half done is left


@pytest.mark.parametrize("option", ["--save", "--csv", "--checkpoint", "--save-config"])
def test_the_data_are_not_written_over(option, table, tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = table.read_bytes()
    (tmp_path / "link").symlink_to(table)
    for name in (table, "data.csv", "./data.csv", "link"):
        status, out, err = run("train", table, *SHORT, option, name)
        assert (status, out) == (2, "")
        assert f"DATA and {option} must name different files, got {str(name)!r} for both." in err
    assert table.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.csv", "link"]


def test_no_input_is_written_over(tmp_path, run):
    path = tmp_path / "f"
    path.write_text("")
    for given, name in ((["mnist", "--data", path], "--data"), (["--config", path], "--config"),
                        (["--resume", path], "--resume")):  # fmt: skip
        err = run("train", *given, "--save", path).err
        assert f"{name} and --save must name different files" in err
    assert path.read_bytes() == b""


def test_settings_and_checkpoints_may_be_written_anew(tmp_path, run):
    config, checkpoint = tmp_path / "c.toml", tmp_path / "c"
    options = (*SHORT, "--save-config", config, "--checkpoint", checkpoint)
    assert run("train", *options).status == 0
    assert run("train", *options, "--config", config, "--resume", checkpoint).status == 0


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), None])
@pytest.mark.parametrize("epoch", [1, 2])
def test_a_training_that_fails_is_saved_as_far_as_it_came(error, epoch, tmp_path, run, monkeypatch):
    path = tmp_path / "m"

    def on_epoch_end(self, number, logs):
        if number == epoch:
            if error is not None:
                raise error
            self.model.optimizer.learning_rate = 1e30

    monkeypatch.setattr(fm.callbacks.CSVLogger, "on_epoch_end", on_epoch_end)
    options = ("--epochs", 3, "--hidden", 8, "--quiet", "--csv", tmp_path / "log")
    status, out, err = run("train", *options, "--save", path)
    assert (status, out) == (1 if error is None else 2, "")
    lines = err.splitlines()
    assert lines[0] == f"model  {path} (training incomplete)"
    assert len(lines) == 2
    assert ("Training diverged" if error is None else "No space left on device") in lines[1]
    assert fm.load_model(path).epochs_begun >= epoch


def test_of_two_errors_the_first_is_told(tmp_path, run, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fm.callbacks.CSVLogger, "on_epoch_end", full)
    monkeypatch.setattr(fm.Sequential, "save", lambda *_: (_ for _ in ()).throw(OSError(5, "bad")))
    status, _, err = run("train", *SHORT, "--csv", tmp_path / "log", "--save", tmp_path / "m")
    assert (status, err.count("\n")) == (2, 1)
    assert "No space left on device" in err


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder that takes no files")
def test_a_folder_that_takes_no_files_is_told_before_training(saved, run):
    status, out, err = run("train", "--save", "/proc/m")
    assert (status, out) == (2, "")
    assert "/proc/m: No such file or directory; nothing was written" in err
    status, _, err = run("predict", saved, "/no/such.npz", "--out", "/proc/p.csv")
    assert status == 2
    assert err.startswith("fastmlp: error: /proc/p.csv: ")


@pytest.mark.skipif(os.name == "nt", reason="has no such pipes")
def test_a_pipe_is_told_before_training(tmp_path, run):
    os.mkfifo(tmp_path / "pipe")
    status, out, err = run("train", "--csv", tmp_path / "pipe")
    assert (status, out) == (2, "")
    assert f"{tmp_path / 'pipe'}: is a device or a pipe; name a regular file." in err
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
