"""Pictures of what a net learnt and of how it does it.

Every function returns a `matplotlib.figure.Figure` and touches no global state, so it works
without a display, in a thread and in a notebook alike; `figure.savefig("curves.png")` keeps it.

Colours are those of Okabe and Ito ("Color Universal Design", 2008), which stay apart for
colour-blind eyes, and whatever a colour says is also said by a mark or a line style. The figures
are 100 mm wide and stay legible when printed at 80 mm.
"""

from .confusion_matrix import confusion
from .evidence import gradient, occlusion
from .feature_maps import activations
from .hidden_layer import embedding
from .normalisation import response_norm
from .picture_grids import doubts, mistakes, predictions
from .training_curves import curves
from .weight_pictures import connections, filters

__all__ = [
    "activations",
    "confusion",
    "connections",
    "curves",
    "doubts",
    "embedding",
    "filters",
    "gradient",
    "mistakes",
    "occlusion",
    "predictions",
    "response_norm",
]
