"""Histograms of weights and of layer outputs."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import plot

X = np.random.default_rng(0).standard_normal((600, 4)).astype(np.float32)


def bars(panel):
    """Shares and edges of the bars."""
    data = panel.patches[0].get_data()
    return np.asarray(data.values), np.asarray(data.edges)


def panels(ax):
    return {panel.get_title(loc="left"): panel for panel in ax.child_axes}


def expected(values, count):
    others = values[values != 0].astype(float)
    counts, edges = np.histogram(others, count, (others.min(), others.max()))
    return counts / values.size, edges


def test_weights_and_outputs(backend):
    layers = [fm.Dense(9, activation="relu"), fm.Dropout(0.5), fm.Dense(3)]
    model = fm.Sequential(layers, (4,), seed=1)
    model.backend = backend
    ax = plot.layer_histograms(model, X, bins=16)
    drawn = panels(ax)
    names = ["dense_0.weight", "dense_0.bias", "dense_1.weight", "dense_1.bias"]
    outputs = ["output of dense_0", "output of dropout_0", "output of dense_1"]
    assert list(drawn) == names + outputs
    hidden = np.maximum(X @ model.parameters["dense_0.weight"], 0)
    cases = {
        "dense_0.weight": model.parameters["dense_0.weight"],
        "output of dense_0": hidden,
        "output of dropout_0": hidden,  # in prediction it does nothing
        "output of dense_1": model.predict(X),
    }
    for name, values in cases.items():
        shares, edges = bars(drawn[name])
        wanted_shares, wanted_edges = expected(values, 16)
        np.testing.assert_allclose(edges, wanted_edges, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(shares, wanted_shares, atol=3 / values.size)
        words = drawn[name].texts[0].get_text()
        assert words.startswith(f"mean {values.mean():.2g}, std {values.std():.2g}")
    zeros = np.mean(hidden == 0)
    assert drawn["output of dense_0"].texts[0].get_text().endswith(f"{zeros:.1%} are 0")
    assert drawn["dense_0.bias"].texts[0].get_text() == "mean 0, std 0, all are 0"
    assert all((p.get_xlabel(), p.get_ylabel()) == ("value", "share") for p in ax.child_axes)
    ax.figure.canvas.draw()


def test_without_samples_only_weights():
    assert list(panels(plot.layer_histograms(fm.MLP(4, [], 2)))) == [
        "dense_0.weight",
        "dense_0.bias",
    ]


def test_images_of_bytes_and_integers():
    model = fm.Sequential([fm.Flatten(), fm.Dense(2)], (2, 2), scale=1 / 255)
    drawn = panels(plot.layer_histograms(model, np.full((3, 2, 2), 51, np.uint8)))
    assert drawn["output of flatten_0"].texts[0].get_text() == "mean 0.2, std 0"
    model = fm.Sequential([fm.Embedding(5, 3, combine=None), fm.Flatten(), fm.Dense(2)], (2,))
    drawn = panels(plot.layer_histograms(model, [[0, 4], [1, 2]]))
    table = model.parameters["embedding_0.weight"]
    rows = table[[[0, 4], [1, 2]]]
    words = drawn["output of embedding_0"].texts[0].get_text()
    assert words == f"mean {rows.mean():.2g}, std {rows.std():.2g}"


def test_values_that_are_not_finite_are_counted():
    class Bad(fm.Layer):
        def forward(self, ops, x, workspace):
            y = x.copy()
            y[0] = np.nan
            return y

    model = fm.Sequential([Bad(), fm.Dense(2)], (4,))
    drawn = panels(plot.layer_histograms(model, X[:100]))
    assert drawn["output of bad_0"].texts[0].get_text().endswith("4 not finite")
    assert bars(drawn["output of bad_0"])[0].sum() == pytest.approx(0.99)


def test_panels_do_not_overlap_in_small_axes():
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 6))
    panels_of = plot.layer_histograms(fm.MLP(4, [3], 2), X, ax=axes[0]).child_axes
    figure.canvas.draw()
    boxes = [panel.get_window_extent() for panel in panels_of]
    assert len({(round(b.x0), round(b.y0)) for b in boxes}) == len(boxes)
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([],), TypeError, "model must be a fastmlp model, got list."),
        ((fm.MLP(4, [], 2), X[:, :3]), ValueError, "x must have shape (N, 4), got (600, 3)."),
        (
            (fm.Sequential([fm.Flatten()], (2, 2)),), ValueError,
            "x is required for a model without parameters, got None.",
        ),
    ],
)  # fmt: skip
def test_refused(arguments, error, message):
    with pytest.raises(error) as caught:
        plot.layer_histograms(*arguments)
    assert str(caught.value) == message


def test_bins_refused():
    with pytest.raises(ValueError, match="bins must be at least 1, got 0"):
        plot.layer_histograms(fm.MLP(4, [], 2), bins=0)
