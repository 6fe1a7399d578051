"""The run of ``fit`` as callbacks see it."""

from __future__ import annotations

import numpy as np

import fastmlp as fm


def test_probe_is_taken_at_even_distances(model, toy):
    class Asker(fm.Callback):
        def on_train_begin(self):
            self.got = self.run.probe()

    asker, weights = Asker(), np.arange(1.0, 151.0)
    model.fit(*toy, epochs=1, batch_size=50, callbacks=[asker], sample_weight=weights)
    x, y, w = asker.got
    assert np.array_equal(x, toy[0][::3])
    assert np.array_equal(y, toy[1][::3])
    assert np.array_equal(w, weights[::3])
    model.fit(*toy, epochs=1, batch_size=4000, callbacks=[asker])
    assert np.array_equal(asker.got[0], toy[0])
    assert asker.got[2] is None
    many = np.tile(toy[0], (7, 1)), np.tile(toy[1], 7)
    model.fit(*many, epochs=1, batch_size=1050, callbacks=[asker])
    assert len(asker.got[0]) == 512
