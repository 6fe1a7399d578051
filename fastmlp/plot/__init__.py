"""Plots with matplotlib, which is imported at the first plot (extra ``plot``).

Each function draws into its argument ``ax`` and returns it. Without ``ax`` it makes a pyplot
figure, for ``plt.show()`` or a notebook. No setting of matplotlib is changed, and no display is
needed. The colours suit colour-blind readers; markers and line styles keep curves distinct in grey
print.
"""

from ._confusion_matrix import confusion_matrix
from ._decision_boundary import decision_boundary
from ._figure import check_path
from ._filters import filters
from ._gradcheck import gradcheck
from ._history import history
from ._layer_histograms import layer_histograms
from ._learning_curves import learning_curves
from ._misclassified import misclassified

__all__ = [
    "check_path",
    "confusion_matrix",
    "decision_boundary",
    "filters",
    "gradcheck",
    "history",
    "layer_histograms",
    "learning_curves",
    "misclassified",
]
