"""Every operation of fastmlp in plain numpy: the definition of what the kernels compute.

``fastmlp.kernels`` has the same functions, compiled. The functions here are what the kernels, the
gradients and whole training runs are tested against, what ``model.backend = "numpy"`` runs, and the
baseline of the benchmarks. The code is as plain as possible, and makes no pass or copy that numpy
can avoid.

Conventions, for every function
-------------------------------
* Arrays are float32 or float64, C-contiguous and of one dtype; results have that dtype. Nothing is
  checked here: ``fastmlp._checks`` guards the models, ``fastmlp.kernels`` guards itself.
* Shapes use these letters: N rows of a batch, I inputs, O outputs, C classes; ``...`` is any shape.
  Images are (N, H, W, C) with C channels, filters (kh, kw, C, F).
* ``out`` is written and returned; without it the result is a new array. ``out`` may be the first
  argument of an elementwise function and of every ``*_backward`` function, but never an operand
  of a matrix product, a convolution or a pooling operation.
* ``*_backward`` functions take ``dy``, the gradient of the loss with respect to the output, and
  return the gradient with respect to the input. They take the output ``y`` as well if the
  derivative is simple in it, otherwise the input ``x``.
* NaN and infinity propagate, and nothing warns.

``fastmlp.reference.loops`` defines convolution and pooling once more, as loops over pixels, under
names that end in ``_loops``.
"""

from __future__ import annotations

from types import FunctionType

from fastmlp.reference.activations import *
from fastmlp.reference.convolution import *
from fastmlp.reference.dense import *
from fastmlp.reference.dropout import *
from fastmlp.reference.embedding import *
from fastmlp.reference.loops import *
from fastmlp.reference.losses import *
from fastmlp.reference.normalization import *
from fastmlp.reference.pooling import *
from fastmlp.reference.updates import *

# Each family lists its public functions. A function may have the name of its family: it then
# hides the module here, which Python still finds by its full name.
__all__ = sorted(name for name, value in globals().items() if isinstance(value, FunctionType))
