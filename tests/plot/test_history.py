"""The learning curve."""

from __future__ import annotations

import subprocess
import sys

import pytest

import fastmlp as fm
from fastmlp import plot

matplotlib = pytest.importorskip("matplotlib")

VALUES = {
    "loss": [1.0, 0.5, 0.25],
    "accuracy": [0.5, 0.7, 0.9],
    "val_loss": [0.9, 0.6, 0.4],
    "val_accuracy": [0.6, 0.7, 0.8],
}


def curves(axes):
    return {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}


def test_both_panels(tmp_path):
    figure = plot.history(VALUES, tmp_path / "c.png")
    loss, accuracy = figure.axes
    assert curves(loss) == {"training": VALUES["loss"], "validation": VALUES["val_loss"]}
    assert curves(accuracy)["validation"] == VALUES["val_accuracy"]
    assert list(loss.get_lines()[0].get_xdata()) == [1, 2, 3]
    for axes in figure.axes:
        assert axes.get_xlabel() == "epoch"
        assert axes.get_legend() is not None
        assert all(float(tick).is_integer() for tick in axes.get_xticks())
    assert (tmp_path / "c.png").stat().st_size > 1000


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf", "PNG", "svgz", "eps"])
def test_kinds_of_files(tmp_path, suffix):
    plot.history({"loss": [1.0]}, tmp_path / f"c.{suffix}")
    assert (tmp_path / f"c.{suffix}").stat().st_size > 500


@pytest.mark.parametrize("function", ["write", "replace"])
def test_a_picture_that_cannot_be_written_leaves_the_old_one(tmp_path, function, monkeypatch):
    path = tmp_path / "c.png"
    path.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(f"fastmlp.io.atomic.os.{function}", full)
        with pytest.raises(OSError, match="nothing was written, any existing file is intact"):
            plot.history(VALUES, path)
    assert [file.name for file in tmp_path.iterdir()] == ["c.png"]
    assert path.read_bytes() == b"old"


def test_loss_alone_is_one_panel(tmp_path):
    figure = plot.history({"loss": [1.0, 0.5]}, tmp_path / "c.png")
    assert len(figure.axes) == 1
    assert list(curves(figure.axes[0])) == ["training"]


def test_takes_the_history_of_fit(toy, tmp_path):
    history = fm.MLP(6, [4], 3).fit(*toy, epochs=2, verbose=0)
    figure = fm.plot.history(history, str(tmp_path / "c.png"))
    assert curves(figure.axes[0])["training"] == history.history["loss"]


def test_without_a_path_it_is_a_figure_of_pyplot():
    from matplotlib import pyplot

    pyplot.switch_backend("agg")
    figure = plot.history(VALUES)
    assert pyplot.fignum_exists(figure.number)
    pyplot.close(figure)


def test_with_a_path_pyplot_is_not_imported(tmp_path):
    code = (
        "import sys, fastmlp as fm; fm.plot.history({'loss': [1.0]}, sys.argv[1]);"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "c.png"], check=True)


def test_nothing_to_draw():
    with pytest.raises(ValueError, match="history must have at least one epoch, got none"):
        plot.history(fm.History())


def test_unknown_kind_of_file(tmp_path):
    with pytest.raises(ValueError, match=r"path must end in \.png"):
        plot.history(VALUES, tmp_path / "curve.exe")


def test_missing_matplotlib_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "fastmlp\[plot\]"'):
        plot.history(VALUES, "c.png")
