"""Pictures; matplotlib, the extra ``plot``, is imported when one is drawn.

One picture a file. Each function draws into the ``ax`` it is given and returns it; without one it
makes a figure of pyplot, for ``plt.show()`` or a notebook. No setting of matplotlib is changed, and
no display is needed. Colours are told apart by people who see few of them, and with markers and
line styles also in grey print.
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
