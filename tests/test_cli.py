"""The command line: what it prints, writes and returns."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import cli
from fastmlp.plan_engine import PlanEngine

SHORT = ["--epochs", "2", "--hidden", "16"]


def run(capsys, *arguments):
    """Exit status, stdout and stderr of the command in this process."""
    try:
        status = cli.main([str(argument) for argument in arguments])
    except SystemExit as stop:  # argparse's own
        status = stop.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture
def saved(tmp_path, capsys):
    """A model file for the digits."""
    path = tmp_path / "model.safetensors"
    assert run(capsys, "train", *SHORT, "--save", path)[0] == 0
    return path


def write_npz(path, **arrays):
    np.savez(path, **arrays)
    return path


def points(n=60):
    rng = np.random.default_rng(3)
    y = np.arange(n) % 3
    return rng.standard_normal((n, 4)) + 3 * np.eye(3, 4)[y], y


def test_train_reports_in_a_log(capsys):
    status, out, err = run(capsys, "train", *SHORT)
    assert (status, err) == (0, "")
    starts = ["data", "model", "fit", "epoch 1/2", "epoch 2/2", "valid", "test", "time"]
    lines = out.splitlines()
    assert len(lines) == len(starts)
    for line, start in zip(lines, starts, strict=True):
        assert line.startswith(start)
    assert "MLP 64 - 16 - 10, relu, float32, 1,210 parameters" in lines[1]


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ([], "SGD(learning_rate=0.2)"),
        (["--lr", "0.5"], "SGD(learning_rate=0.5)"),
        (["--optimizer", "adam"], "Adam(learning_rate=0.001)"),
        (["--optimizer", "adagrad"], "Adagrad(learning_rate=0.01)"),
        (["--optimizer", "rmsprop", "--lr", "0.002"], "RMSprop(learning_rate=0.002)"),
        (["--optimizer", "adamw"], "AdamW(learning_rate=0.001)"),
    ],
)
def test_optimizers_and_their_learning_rates(options, shown, capsys):
    status, out, err = run(capsys, "train", "--epochs", 1, "--hidden", 4, *options)
    assert (status, err) == (0, "")
    assert f"fit    {shown}, batches of 8" in out


def test_quiet_prints_the_result_only(capsys):
    _, out, err = run(capsys, "train", *SHORT, "--quiet")
    assert [line.split()[0] for line in out.splitlines()] == ["valid", "test", "time"]
    assert err == ""


def test_default_digits_reach_97_percent(capsys):
    status, out, _ = run(capsys, "train", "--quiet")
    assert status == 0
    accuracy = float(out.splitlines()[1].split()[-1].rstrip("%"))
    assert accuracy >= 97.0


def test_same_seed_same_file(tmp_path, capsys):
    files = [tmp_path / name for name in ("a", "b", "c")]
    for path, seed in zip(files, (5, 5, 6), strict=True):
        assert run(capsys, "train", *SHORT, "--seed", seed, "--save", path)[0] == 0
    a, b, c = (path.read_bytes() for path in files)
    assert a == b
    assert a != c


@pytest.mark.parametrize("option", [("--dtype", "float64"), ("--backend", "numpy"),
                                    ("--init", "lecun_normal"), ("--hidden",)])  # fmt: skip
def test_train_options(option, capsys):
    assert run(capsys, "train", *SHORT, *option)[0] == 0


def test_train_draws_the_curve(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "curve.png"
    status, out, _ = run(capsys, "train", *SHORT, "--plot", picture)
    assert status == 0
    assert f"curve  {picture}" in out
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_evaluate_agrees_with_the_library(saved, capsys):
    status, out, _ = run(capsys, "evaluate", saved)
    _, (x, y) = fm.datasets.load_digits()
    measured = fm.load_model(saved).evaluate(x, y)
    assert status == 0
    expected = f"loss {measured['loss']:.4f}  accuracy {measured['accuracy']:.4f}"
    assert out == f"digits  359 samples  {expected}\n"


def test_predict_prints_csv(saved, capsys):
    status, out, _ = run(capsys, "predict", saved)
    _, (x, _) = fm.datasets.load_digits()
    labels = fm.load_model(saved).predict(x).argmax(axis=1)
    assert status == 0
    assert out.splitlines() == ["labels", *map(str, labels)]


@pytest.mark.parametrize("suffix", ["csv", "npz"])
def test_predict_writes_files(saved, suffix, tmp_path, capsys):
    out = tmp_path / f"p.{suffix}"
    status, text, _ = run(capsys, "predict", saved, "--out", out, "--proba")
    assert status == 0
    assert text == f"359 predictions in {out}\n"
    _, (x, _) = fm.datasets.load_digits()
    expected = fm.load_model(saved).predict_proba(x)
    if suffix == "npz":
        with np.load(out) as arrays:
            labels, probabilities = arrays["labels"], arrays["probabilities"]
    else:
        table = np.loadtxt(out, delimiter=",", skiprows=1)
        labels, probabilities = table[:, 0], table[:, 1:].astype(np.float32)
    np.testing.assert_array_equal(probabilities, expected)
    np.testing.assert_array_equal(labels, expected.argmax(axis=1))


@pytest.mark.parametrize("outputs", [1, 3])
def test_predict_of_yes_or_no_answers(outputs, tmp_path, capsys):
    model = fm.MLP(64, [], outputs, seed=3)
    model.compile(loss="binary_cross_entropy")
    model.save(tmp_path / "m")
    x = np.random.default_rng(0).standard_normal((20, 64))
    file = write_npz(tmp_path / "d.npz", x=x)
    status, out, _ = run(capsys, "predict", tmp_path / "m", file)
    rows = [[int(text) for text in line.split(",")] for line in out.splitlines()[1:]]
    assert status == 0
    np.testing.assert_array_equal(rows, model.predict(x) > 0)
    assert len(np.unique(rows)) == 2


def test_npz_with_x_and_y(tmp_path, capsys):
    x, y = points()
    file, model = write_npz(tmp_path / "d.npz", x=x, y=y), tmp_path / "m"
    status, out, _ = run(capsys, "train", file, *SHORT, "--save", model)
    assert status == 0
    assert "54 samples to train, 6 to validate" in out
    assert "test " not in out
    assert run(capsys, "evaluate", model, file)[1].startswith(f"{file}  60 samples")


def test_npz_with_all_parts(tmp_path, capsys):
    x, y = points()
    parts = {"x_train": x[:40], "y_train": y[:40], "x_valid": x[40:50], "y_valid": y[40:50]}
    file = write_npz(tmp_path / "d.npz", **parts, x_test=x[50:], y_test=y[50:])
    _, out, _ = run(capsys, "train", file, *SHORT)
    assert "40 samples to train, 10 to validate, 10 to test" in out


def test_npz_of_samples_only_can_be_predicted(tmp_path, saved, capsys):
    file = write_npz(tmp_path / "d.npz", x=np.zeros((4, 64)))
    assert len(run(capsys, "predict", saved, file)[1].splitlines()) == 5
    status, _, err = run(capsys, "evaluate", saved, file)
    assert (status, err) == (2, f"fastmlp: error: {file} has samples without labels.\n")


def test_gradcheck(capsys):
    status, out, _ = run(capsys, "gradcheck", "--hidden", 5, "--activation", "tanh")
    assert status == 0
    assert out.startswith("gradcheck passed")
    assert run(capsys, "gradcheck", "--loss", "mse", "--backend", "numpy")[0] == 0
    for loss in ("binary_cross_entropy", "mae", "huber", "hinge"):
        assert run(capsys, "gradcheck", "--hidden", 5, "--loss", loss, "--seed", 3)[0] == 0, loss


def test_gradcheck_fails_with_status_1(capsys, monkeypatch):
    exact = PlanEngine.gradients

    def wrong(*arguments, **options):
        loss, gradients = exact(*arguments, **options)
        return loss, {name: 1.01 * gradient for name, gradient in gradients.items()}

    monkeypatch.setattr(PlanEngine, "gradients", wrong)
    status, out, _ = run(capsys, "gradcheck", "--hidden", 4)
    assert status == 1
    assert out.startswith("gradcheck FAILED")


def test_info(saved, capsys):
    status, out, _ = run(capsys, "info", saved)
    assert status == 0
    assert out.startswith(fm.load_model(saved).summary())
    assert out.endswith("loss cross_entropy, optimizer SGD(learning_rate=0.2), 2 epochs, seed 0\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--save", "/no/such/m"], "the folder /no/such of /no/such/m does not exist."),
        (["train", "cats"], "DATA must be digits, mnist or a file named *.npz, got 'cats'."),
        (["train", "--epochs", "0"], "epochs must be at least 1, got 0."),
        (["train", "--activation", "rel"], "activation must be one of"),
        (["train", "--optimizer", "sdg"], "optimizer must be one of"),
        (["train", "mnist", "--data", "/no/such"], "no files of mnist in /no/such."),
        (["train", "/no/such.npz"], "[Errno 2] No such file or directory: '/no/such.npz'"),
        (["evaluate", "/no/such.model"], "[Errno 2] No such file or directory"),
        (["predict", "m", "--out", "p.txt"], "--out must name a file *.npz or *.csv"),
    ],
)
def test_mistakes_are_one_line(arguments, message, capsys):
    status, _, err = run(capsys, *arguments)
    assert status == 2
    assert err.startswith("fastmlp: error: ")
    assert message in err
    assert err.count("\n") == 1


def test_picture_of_an_unknown_kind_is_refused_before_training(capsys):
    pytest.importorskip("matplotlib")
    status, out, err = run(capsys, "train", "--plot", "curve.jpgg")
    assert (status, out) == (2, "")
    assert "got 'curve.jpgg'" in err


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"z": np.zeros(3)}, "must have an array x, x_train or x_test; its arrays: z."),
        ({"x": np.zeros((30, 2))}, "has x without y."),
        ({"x": np.zeros((30, 2)), "y": np.zeros(29, int)}, "30 samples, but y (29,)."),
        ({"x": np.zeros((30, 2)), "y": np.zeros(30)}, "y must hold whole numbers"),
        ({"x": np.zeros((30, 2)), "y": np.zeros(30, int)}, "at least two classes, got 1."),
        ({"x": np.zeros((3, 2)), "y": np.zeros(3, int)}, "too few to hold any out."),
        ({"x": np.zeros(())}, "x must be an array of samples, got one number."),
    ],
)
def test_npz_that_cannot_be_trained_on(arrays, message, tmp_path, capsys):
    status, _, err = run(capsys, "train", write_npz(tmp_path / "d.npz", **arrays))
    assert status == 2
    assert message in err


def test_divergence_gives_advice_and_status_1(tmp_path, capsys):
    path = tmp_path / "m"
    status, _, err = run(capsys, "train", *SHORT, "--lr", "1e9", "--save", path)
    assert status == 1
    assert "Lower the learning rate" in err
    assert err.count("\n") == 1
    assert not path.exists()


def test_help(capsys):
    assert run(capsys, "--help")[0] == 0
    assert run(capsys)[0] == 2
    for command in ("train", "evaluate", "predict", "gradcheck", "info"):
        assert run(capsys, command, "--help")[0] == 0


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_saves_what_there_is(tmp_path):
    path = tmp_path / "m.safetensors"
    command = [sys.executable, "-m", "fastmlp", "train", "--epochs", "100000", "--save", path]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            if line.startswith("epoch 2/"):
                break
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped by Ctrl-C" in err
    assert "test " in out
    assert fm.load_model(path).epochs_begun >= 2


@pytest.mark.skipif(os.name != "posix", reason="needs head-like behaviour of a pipe")
def test_closed_pipe_is_no_traceback(saved):
    command = [sys.executable, "-m", "fastmlp", "predict", saved]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode == 1
    assert err == b""
