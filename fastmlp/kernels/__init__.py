"""The operations of :mod:`fastmlp.reference`, compiled: same names, arguments and meaning.

Arrays are float32 or float64, and results have their dtype. Arrays may have any layout: an array
that is not C-contiguous, aligned and in native byte order is copied once. ``out`` must be a
C-contiguous array with the shape and dtype of the result; elementwise functions may write over
their input. float16 input is converted to float32, integers to float64. Wrong shapes and values
raise ValueError, wrong types and dtypes raise TypeError, both before any work is done.

exp, log, tanh and sigmoid differ from the exact value by at most 2 units in the last place, for
every input. NaN and infinity propagate. :func:`fastmlp.show_config` prints the instruction set in
use.

A compiled function takes its arrays as they come. If one is not ready for it, or does not fit, it
does nothing and returns None. Only then do the functions of this package look at the arguments,
convert them or raise. (Weight penalties and clipping handle whole weights, and check first.)
"""

from __future__ import annotations

from types import FunctionType

from fastmlp.kernels.activations import *
from fastmlp.kernels.convolution import *
from fastmlp.kernels.dense import *
from fastmlp.kernels.dropout import *
from fastmlp.kernels.embedding import *
from fastmlp.kernels.losses import *
from fastmlp.kernels.normalization import *
from fastmlp.kernels.pooling import *
from fastmlp.kernels.updates import *

# Each family lists its public functions. A function may have the name of its family: it then
# hides the module here, which Python still finds by its full name.
__all__ = sorted(name for name, value in globals().items() if isinstance(value, FunctionType))
