"""The commands: what they print, write and return."""

from __future__ import annotations

import inspect
import json
import os

import numpy as np
import pytest

import fastmlp as fm
from fastmlp._engines.plans import PlanEngine

SHORT = ["--epochs", "2", "--hidden", "16"]


def write_npz(path, **arrays):
    np.savez(path, **arrays)
    return path


def points(n=60):
    rng = np.random.default_rng(3)
    y = np.arange(n) % 3
    return rng.standard_normal((n, 4)) + 3 * np.eye(3, 4)[y], y


def test_train_reports_in_a_log(run):
    status, out, err = run("train", *SHORT)
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
def test_optimizers_and_their_learning_rates(options, shown, run):
    status, out, err = run("train", "--epochs", 1, "--hidden", 4, *options)
    assert (status, err) == (0, "")
    assert f"fit    {shown}, batches of 8" in out


def test_quiet_prints_the_result_only(run):
    _, out, err = run("train", *SHORT, "--quiet")
    assert [line.split()[0] for line in out.splitlines()] == ["valid", "test", "time"]
    assert err == ""


def test_default_digits_reach_97_percent(run):
    status, out, _ = run("train", "--quiet")
    assert status == 0
    accuracy = float(out.splitlines()[1].split()[-1].rstrip("%"))
    assert accuracy >= 97.0


def test_same_seed_same_file(tmp_path, run):
    files = [tmp_path / name for name in ("a", "b", "c")]
    for path, seed in zip(files, (5, 5, 6), strict=True):
        assert run("train", *SHORT, "--seed", seed, "--save", path)[0] == 0
    a, b, c = (path.read_bytes() for path in files)
    assert a == b
    assert a != c


@pytest.mark.parametrize("option", [("--dtype", "float64"), ("--backend", "numpy"),
                                    ("--init", "lecun_normal"), ("--hidden",)])  # fmt: skip
def test_train_options(option, run):
    assert run("train", *SHORT, *option)[0] == 0


def test_train_draws_the_curve(tmp_path, run):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "curve.png"
    status, out, _ = run("train", *SHORT, "--plot", picture)
    assert status == 0
    assert f"curve  {picture}" in out
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_evaluate_agrees_with_the_library(saved, run):
    status, out, _ = run("evaluate", saved)
    _, (x, y) = fm.datasets.load_digits()
    measured = fm.load_model(saved).evaluate(x, y)
    assert status == 0
    expected = f"loss {measured['loss']:.4f}  accuracy {measured['accuracy']:.4f}"
    assert out == f"digits  359 samples  {expected}\n"


def test_predict_prints_csv(saved, run):
    status, out, _ = run("predict", saved)
    _, (x, _) = fm.datasets.load_digits()
    labels = fm.load_model(saved).predict(x).argmax(axis=1)
    assert status == 0
    assert out.splitlines() == ["labels", *map(str, labels)]


@pytest.mark.parametrize("suffix", ["csv", "npz"])
def test_predict_writes_files(saved, suffix, tmp_path, run):
    out = tmp_path / f"p.{suffix}"
    status, text, _ = run("predict", saved, "--out", out, "--proba")
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


def test_predictions_replace_neither_data_nor_model(saved, table, tmp_path, run):
    model = tmp_path / "m.npz"
    model.write_bytes(saved.read_bytes())
    before = table.read_bytes()
    for arguments, name in (((saved, table), "DATA"), ((model,), "MODEL")):
        status, out, err = run("predict", *arguments, "--out", arguments[-1])
        assert (status, out) == (2, "")
        assert (
            f"{name} and --out must name different files, got {str(arguments[-1])!r} for both."
            in err
        )
    assert (table.read_bytes(), model.read_bytes()) == (before, saved.read_bytes())


@pytest.mark.parametrize("outputs", [1, 3])
def test_predict_of_yes_or_no_answers(outputs, tmp_path, run):
    model = fm.MLP(64, [], outputs, seed=3)
    model.compile(loss="binary_cross_entropy")
    model.save(tmp_path / "m")
    x = np.random.default_rng(0).standard_normal((20, 64))
    file = write_npz(tmp_path / "d.npz", x=x)
    status, out, _ = run("predict", tmp_path / "m", file)
    rows = [[int(text) for text in line.split(",")] for line in out.splitlines()[1:]]
    assert status == 0
    np.testing.assert_array_equal(rows, model.predict(x) > 0)
    assert len(np.unique(rows)) == 2


def test_npz_with_x_and_y(tmp_path, run):
    x, y = points()
    file, model = write_npz(tmp_path / "d.npz", x=x, y=y), tmp_path / "m"
    status, out, _ = run("train", file, *SHORT, "--save", model)
    assert status == 0
    assert "54 samples to train, 6 to validate" in out
    assert "test " not in out
    assert run("evaluate", model, file)[1].startswith(f"{file}  60 samples")


def test_npz_with_all_parts(tmp_path, run):
    x, y = points()
    parts = {"x_train": x[:40], "y_train": y[:40], "x_valid": x[40:50], "y_valid": y[40:50]}
    file = write_npz(tmp_path / "d.npz", **parts, x_test=x[50:], y_test=y[50:])
    _, out, _ = run("train", file, *SHORT)
    assert "40 samples to train, 10 to validate, 10 to test" in out


def test_npz_of_samples_only_can_be_predicted(tmp_path, saved, run):
    file = write_npz(tmp_path / "d.npz", x=np.zeros((4, 64)))
    assert len(run("predict", saved, file)[1].splitlines()) == 5
    status, _, err = run("evaluate", saved, file)
    assert (status, err) == (
        2,
        f"fastmlp: error: {file} must have labels to evaluate a model, got only samples.\n",
    )


def test_gradcheck(run):
    status, out, _ = run("gradcheck", "--hidden", 5, "--activation", "tanh")
    assert status == 0
    assert out.startswith("gradcheck passed")
    assert run("gradcheck", "--loss", "mse", "--backend", "numpy")[0] == 0
    for loss in ("binary_cross_entropy", "mae", "huber", "hinge"):
        assert run("gradcheck", "--hidden", 5, "--loss", loss, "--seed", 3)[0] == 0, loss


def test_gradcheck_fails_with_status_1(run, monkeypatch):
    exact = PlanEngine.gradients

    def wrong(*arguments, **options):
        loss, gradients = exact(*arguments, **options)
        return loss, {name: 1.01 * gradient for name, gradient in gradients.items()}

    monkeypatch.setattr(PlanEngine, "gradients", wrong)
    status, out, _ = run("gradcheck", "--hidden", 4)
    assert status == 1
    assert out.startswith("gradcheck FAILED")


def test_info(saved, run):
    status, out, _ = run("info", saved)
    assert status == 0
    assert out.startswith(fm.load_model(saved).summary())
    assert out.endswith("loss cross_entropy, optimizer SGD(learning_rate=0.2), 2 epochs, seed 0\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["train", "--save", "/no/such/m"],
            "--save /no/such/m: the folder /no/such does not exist.",
        ),
        (
            ["train", "cats"],
            "DATA must be digits, mnist, fashion_mnist, cifar10 or a file named *.npz, *.h5 or *.csv",
        ),
        (["train", "--epochs", "0"], "epochs must be at least 1, got 0."),
        (["train", "--activation", "rel"], "activation must be one of"),
        (["train", "--optimizer", "sdg"], "optimizer must be one of"),
        (["train", "mnist", "--data", "/no/such"], "no mnist files in /no/such."),
        (["train", "/no/such.npz"], "/no/such.npz: No such file or directory."),
        (["evaluate", "/no/such.model"], "/no/such.model: No such file or directory."),
        (["predict", "m", "--out", "p.txt"], "--out must end in .npz or .csv"),
        (["predict", "m", "--out", ""], "--out must end in .npz or .csv, got ''."),
    ],
)
def test_mistakes_are_one_line(arguments, message, run):
    status, _, err = run(*arguments)
    assert status == 2
    assert err.startswith("fastmlp: error: ")
    assert message in err
    assert err.count("\n") == 1


def test_picture_of_an_unknown_kind_is_refused_before_training(run):
    pytest.importorskip("matplotlib")
    status, out, err = run("train", "--plot", "curve.jpgg")
    assert (status, out) == (2, "")
    assert "got 'curve.jpgg'" in err


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"z": np.zeros(3)}, "must have an array x, x_train or x_test; its arrays: z."),
        ({"x": np.zeros((30, 2))}, "has x without y."),
        (
            {"x": np.zeros((30, 2)), "y": np.zeros(29, int)},
            "x has 30 samples, but y has shape (29,).",
        ),
        ({"x": np.zeros((30, 2)), "y": np.full(30, 0.5)}, "For regression use --loss mse."),
        ({"x": np.zeros((30, 2)), "y": np.zeros(30, int)}, "at least two classes, got 1."),
        ({"x": np.zeros((3, 2)), "y": np.zeros(3, int)}, "must have at least 10 samples, to hold"),
        ({"x": np.zeros(())}, "x must be an array of samples, got a number."),
    ],
)
def test_npz_that_cannot_be_trained_on(arrays, message, tmp_path, run):
    status, _, err = run("train", write_npz(tmp_path / "d.npz", **arrays))
    assert status == 2
    assert message in err


def test_divergence_gives_advice_and_status_1(tmp_path, run):
    path = tmp_path / "m"
    status, _, err = run("train", *SHORT, "--lr", "1e9", "--save", path)
    assert status == 1
    assert "Lower the learning rate" in err
    assert err.count("\n") == 1
    assert not path.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND. See fastmlp --help."),
        (["trian"], "unknown command 'trian'. Did you mean train? See fastmlp --help."),
        (["sing"], "unknown command 'sing'. The commands are train, evaluate, predict"),
        (["train", "--epoch", 3], "unknown option --epoch. Did you mean --epochs? See fastmlp train --help."),
        (["train", "--zzz"], "unknown option --zzz. See fastmlp train --help."),
        (["train", "digits", "8"], "unexpected argument '8'. See fastmlp train --help."),
        (["train", "--momentum"], "--momentum: expected one argument. See fastmlp train --help."),
        (["evaluate"], "the following arguments are required: MODEL."),
        (["train", "--threads", "two"], "--threads must be an integer, got 'two'."),
        (["train", "--threads", 0], "--threads must be at least 1, got 0."),
        (["train", "--lr", "big"], "--lr must be a finite number, got 'big'."),
        (["train", "--lr", "inf"], "--lr must be a finite number, got 'inf'."),
        (["train", "--epochs", "2.5"], "--epochs must be an integer, got '2.5'."),
        (["train", "--hidden", "a,b"], "--hidden must be integers such as 512,256, or none, got"),
        (["train", "--dtype", "int8"], "--dtype must be float32 or float64, got 'int8'."),
        (["train", "--metrics", "f2"], "a metric must be one of"),
        (["evaluate", "MODEL", "--part", "third"], "digits has no part 'third'; it has train, valid, test."),
        (["evaluate", "MODEL", "--metrics", "mse"], "metrics: mse needs a regression loss"),
        (["gradcheck", "--n", "1,2"], "--n needs --layer NAME"),
        *((["gradcheck", "--layer", "dense_0", "--n", n], "--n must be positive integers, such as")
          for n in ("none", "0", "a", "")),
        (["gradcheck", "--samples", 0], "--samples must be at least 1, got 0."),
        (["gradcheck", "--loss", ""], "loss must be one of cross_entropy"),
        (["gradcheck", "MODEL", "--loss", ""], "loss must be one of cross_entropy"),
        (["gradcheck", "--init", ""], "initializer must be one of"),
        (["train", "--init", ""], "initializer must be one of"),
        (["train", "--resume", "MODEL"], "is a model file, not a checkpoint"),
        (["gradcheck", "MODEL", "--hidden", 4], "--hidden applies only to a new network, but MODEL is"),
        *(([name, ""], f"MODEL must be the name of a file, got ''. See fastmlp {name} --help.")
          for name in ("evaluate", "predict", "gradcheck", "info")),
        (["evaluate", "MODEL", "mnist", "--data", ""], "--data must be the name of a file or a"),
        (["predict", "MODEL", "mnist", "--data", ""], "--data must be the name of a file or a"),
        (["predict", "MODEL", ""], "DATA must be digits, mnist, fashion_mnist, cifar10 or a file"),
        (["gradcheck", "--layer", "dense_0", "--plot", ""], "--plot must be the name of a file,"),
        (["info", "/no/such"], "/no/such: No such file or directory."),
    ],
)  # fmt: skip
def test_usage_mistakes(arguments, message, saved, run):
    status, out, err = run(*(saved if argument == "MODEL" else argument for argument in arguments))
    assert (status, out) == (2, "")
    assert err.startswith("fastmlp: error: ")
    assert message in err
    assert err.count("\n") == 1


def test_evaluate_counts_confusions(saved, run):
    _, (x, y) = fm.datasets.load_digits()
    taken = fm.load_model(saved).predict(x).argmax(axis=1)
    status, out, _ = run("evaluate", saved, "--confusion")
    lines = out.splitlines()
    assert status == 0
    assert len(lines) == 12
    for label, line in enumerate(lines[2:]):
        name, *cells, recall = line.split()
        counts = [0 if cell == "." else int(cell) for cell in cells]
        expected = [int(((y == label) & (taken == other)).sum()) for other in range(10)]
        assert (name, counts) == (str(label), expected)
        assert recall == f"{expected[label] / sum(expected):.1%}"


def test_evaluate_as_json(saved, run):
    status, out, _ = run("evaluate", saved, "--part", "train", "--metrics", "error,f1", "--json",
                         "--confusion")  # fmt: skip
    result = json.loads(out)
    (x, y), _ = fm.datasets.load_digits()
    trained = np.arange(len(x)) % 10 != 9
    x, y = x[trained], y[trained]
    taken = fm.load_model(saved).predict(x).argmax(axis=1)
    assert status == 0
    assert (result["samples"], result["part"]) == (1295, "train")
    assert result["error"] == pytest.approx(float((taken != y).mean()))
    assert result["f1"] == pytest.approx(fm.metrics.f1(y, taken, average="macro"))
    assert np.array(result["confusion_matrix"]).sum() == 1295
    held = json.loads(run("evaluate", saved, "--part", "valid", "--json").out)
    assert held["samples"] == 143


def test_confusion_is_for_classifiers(tmp_path, run):
    model = fm.MLP(64, [], 1)
    model.compile(loss="mse")
    model.save(tmp_path / "m")
    status, _, err = run("evaluate", tmp_path / "m", "--confusion")
    assert (status, "trained with mse" in err) == (2, True)
    assert "--proba is for classifiers" in run("predict", tmp_path / "m", "--proba").err


@pytest.mark.parametrize("column", [False, True])
def test_evaluate_counts_yes_and_no(column, tmp_path, run):
    model = fm.MLP(4, [], 1, seed=3)
    model.compile(loss="binary_cross_entropy")
    model.save(tmp_path / "m")
    x, y = points()
    y = (y == 1).astype(int)
    file = write_npz(tmp_path / "d.npz", x=x, y=y[:, None] if column else y)
    yes = model.predict(x)[:, 0] > 0
    counts = [[int(((y == true) & (yes == taken)).sum()) for taken in (0, 1)] for true in (0, 1)]
    status, out, _ = run("evaluate", tmp_path / "m", file, "--confusion")
    assert status == 0
    head, *rows = (line.split() for line in out.splitlines()[1:])
    assert head == ["true", "\\", "predicted", "no", "yes", "recall"]
    for name, row, expected in zip(("no", "yes"), rows, counts, strict=True):
        assert row[:3] == [name, *(str(value or ".") for value in expected)]
    result = json.loads(run("evaluate", tmp_path / "m", file, "--confusion", "--json").out)
    assert result["confusion_matrix"] == counts


def test_confusion_needs_one_answer(tmp_path, run):
    model = fm.MLP(4, [], 3)
    model.compile(loss="binary_cross_entropy")
    model.save(tmp_path / "m")
    status, _, err = run("evaluate", tmp_path / "m", "--confusion")
    assert status == 2
    assert "--confusion needs one class per sample; this model was trained with binary" in err
    assert "has 3 independent outputs." in err


def test_predict_of_many_samples_is_that_of_few(tmp_path, run, monkeypatch, saved):
    from fastmlp.cli import predict

    whole = run("predict", saved, "--proba").out
    monkeypatch.setattr(predict, "_ROWS", 100)
    parts = run("predict", saved, "--proba").out
    read = [np.loadtxt(text.splitlines(), delimiter=",", skiprows=1) for text in (whole, parts)]
    np.testing.assert_allclose(*read, rtol=1e-5, atol=1e-7)


def test_predict_of_a_table_with_its_target(table, tmp_path, run):
    model = tmp_path / "m"
    short = ("--hidden", 8, "--epochs", 3, "--quiet")
    assert run("train", table, "--target", "kind", *short, "--save", model).status == 0
    status, _, err = run("predict", model, table)
    assert status == 2
    assert "the model takes 3 features, got 4 columns" in err
    out = run("predict", model, table, "--target", "kind").out
    assert len(out.splitlines()) == 61


@pytest.mark.parametrize("layers", [["--conv", "2x3", "--pool", 2], ["--batch-norm"],
                                    ["--dropout", 0.5, "--l2", 0.1], ["--dtype", "float64"]])  # fmt: skip
def test_gradcheck_of_networks(layers, run):
    status, out, _ = run("gradcheck", "--hidden", 4, "--activation", "tanh", *layers)
    assert status == 0, out
    assert out.startswith("gradcheck passed")


def test_gradcheck_of_a_saved_model(saved, run):
    status, out, _ = run("gradcheck", saved, "--loss", "hinge")
    assert status == 0
    assert "dense_0.weight" in out


@pytest.mark.skipif(
    "layer" not in inspect.signature(fm.gradcheck).parameters, reason="gradcheck takes no layer"
)
def test_gradcheck_over_n(tmp_path, run):
    status, out, _ = run("gradcheck", "--layer", "dense_0", "--n", "1,10,100")
    assert status == 0, out
    assert "dense_0" in out
    assert run("gradcheck", "--layer", "dense_9").status == 2
    pytest.importorskip("matplotlib")
    picture = tmp_path / "errors.png"
    assert run("gradcheck", "--layer", "dense_0", "--plot", picture).status == 0
    assert picture.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("function", ["write", "fsync", "replace"])
def test_a_gradcheck_picture_that_cannot_be_written_leaves_the_old_one(
    function, tmp_path, run, monkeypatch
):
    pytest.importorskip("matplotlib")
    path = tmp_path / "errors.png"
    path.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"fastmlp.io.atomic.os.{function}", full)
    options = ("gradcheck", "--layer", "dense_0", "--n", "1,10", "--plot", path)
    status, _, err = run(*options)
    assert status == 2
    assert f"{path}: No space left on device; nothing was written" in err
    assert (os.listdir(tmp_path), path.read_bytes()) == ([path.name], b"old")


def test_a_gradcheck_picture_is_refused_before_the_check(saved, run):
    pytest.importorskip("matplotlib")
    options = ("--layer", "dense_0", "--plot")
    status, out, err = run("gradcheck", *options, "/no/such/errors.png")
    assert (status, out) == (2, "")
    assert "/no/such/errors.png: No such file or directory; nothing was written" in err
    model = saved.rename(saved.with_suffix(".png"))
    before = model.read_bytes()
    status, out, err = run("gradcheck", model, *options, model)
    assert (status, out) == (2, "")
    assert f"MODEL and --plot must name different files, got {str(model)!r} for both." in err
    assert model.read_bytes() == before


def test_info_as_json(saved, run):
    entries = json.loads(run("info", "--json").out)
    assert entries["numpy"] == np.__version__
    assert {"extra plot", "extra data", "data folder", "instruction set"} <= entries.keys()
    described = json.loads(run("info", saved, "--json").out)
    assert described["parameters"] == 1210
    assert described["optimizer"]["name"] == "sgd"


def test_info_names_the_extra_that_is_missing(run, monkeypatch):
    from fastmlp.cli import info

    monkeypatch.setattr(info, "_EXTRAS", {"plot": ("json", "no_such_package")})
    assert 'without no_such_package: pip install "fastmlp[plot]"' in run("info").out
