"""Where the samples of the commands come from."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.cli import data

SHORT = ("--epochs", 1, "--hidden", 4)


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {"pixels": rng.random((40, 3, 5, 4)), "labels": np.arange(40) % 2}


def test_named_arrays_of_npz(arrays, tmp_path, run):
    path = tmp_path / "d.npz"
    np.savez(path, **arrays)
    named = ("--x", "pixels", "--y", "labels")
    status, out, _ = run("train", path, *named, *SHORT)
    assert status == 0
    assert "MLP 60 - 4 - 2" in out
    first = ("--channels-first", "--conv", "2x3")
    status, out, _ = run("train", path, *named, *SHORT, *first)
    assert (status, "CNN 5x4x3 - 2x3 - 4 - 2" in out) == (0, True)
    err = run("train", path, "--x", "pixel", "--y", "labels").err
    assert "has no array 'pixel'; its arrays: pixels, labels." in err
    assert "Use --x and --y to name other arrays." in run("train", path).err
    assert "has x without y" in run("train", path, "--x", "pixels").err


def test_hdf5(arrays, tmp_path, run):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "d.h5"
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[f"group/{name}"] = values
    named = ("--x", "group/pixels", "--y", "group/labels")
    model = tmp_path / "m"
    status, out, err = run("train", path, *named, *SHORT, "--save", model)
    assert (status, err) == (0, "")
    assert "36 samples to train, 4 to validate" in out
    assert "40 samples" in run("evaluate", model, path, *named).out
    err = run("train", path, "--x", "nothing").err
    assert "no data set 'nothing'; the file contains: group/" in err
    assert err.count("\n") == 1


def test_hdf5_without_h5py_names_the_extra(tmp_path, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    status, _, err = run("train", tmp_path / "d.h5")
    assert (status, 'pip install "fastmlp[data]"' in err) == (2, True)


def test_tables(table, run):
    status, out, _ = run("train", table, "--target", "kind", *SHORT)
    assert (status, "MLP 3 - 4 - 3" in out) == (0, True)
    assert run("train", table, "--target", 2, *SHORT).status == 0
    assert "target" in run("train", table, "--target", "colour").err
    assert "For regression use --loss mse" in run("train", table).err  # its last column


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["digits", "--data", "x"], "--data is for mnist, fashion_mnist and cifar10, but DATA is"),
        (["digits", "--target", "0"], "--target is for *.csv files, but DATA is digits."),
        (["d.csv", "--x", "a"], "--x is for *.npz and *.h5 files, but DATA is d.csv."),
        (["cifar10", "--download"], "--download is for mnist, but DATA is cifar10."),
        (["d.npz", "--y", "a"], "--y needs --x"),
        (["digits", "--channels-first"], "--channels-first is for images (N, C, H, W)"),
        (["fashion_mnist", "--data", "/no"], "no fashion_mnist files in /no. Add --data PATH"),
        (["cifar10", "--data", "/no"], "no cifar10 files in /no. Add --data PATH"),
        (["d.csv"], "d.csv: No such file or directory. (The current folder is /"),
        (["d.h5"], "d.h5: No such file or directory."),
    ],
)
def test_what_is_refused(options, message, run):
    if "d.h5" in options:
        pytest.importorskip("h5py")
    status, _, err = run("train", *options)
    assert (status, err.count("\n")) == (2, 1)
    assert message in err


def test_labels_that_number_no_classes(tmp_path, run):
    np.savez(tmp_path / "d.npz", x=np.zeros((20, 2)), y=np.arange(20) * 10**8)
    err = run("train", tmp_path / "d.npz").err
    assert "y must hold labels from 0 to 65535, got 1900000000." in err
    np.savez(tmp_path / "d.npz", x=np.zeros((20, 2)), y=np.arange(20) % 3 - 1)
    assert "got -1 at index 0" in run("train", tmp_path / "d.npz", "--loss", "hinge").err


def test_classes_have_names():
    assert data.class_names("cifar10", 10)[6] == "frog"
    assert data.class_names("fashion_mnist", 10)[0] == "T-shirt"
    assert data.class_names("cifar10", 3) == ["0", "1", "2"]


def test_mnist(run, tmp_path):
    try:
        fm.datasets.load_mnist()
    except FileNotFoundError:
        pytest.skip("needs MNIST's files in $FASTMLP_DATA")
    options = ("--hidden", 16, "--epochs", 1, "--batch-size", 100)
    status, out, _ = run("train", "mnist", *options, "--save", tmp_path / "m")
    assert status == 0
    assert "50,000 samples to train, 10,000 to validate, 10,000 to test" in out


def test_cifar10(run):
    path = os.path.join(os.environ.get("FASTMLP_DATA", ""), "cifar10_subset.npz")
    if not os.path.exists(path):
        pytest.skip("needs cifar10_subset.npz in $FASTMLP_DATA")
    options = ("--conv", "2x3/2", "--pool", 4, "--hidden", 4, "--epochs", 1)
    status, out, _ = run("train", "cifar10", "--data", path, *options)
    assert (status, "CNN 32x32x3 - 2x3/2 - pool 4 - 4 - 10" in out) == (0, True)
