"""One floating dtype for all arrays of a call, by numpy's rules, as the kernels require."""

import numpy as np


def floats(*arrays):
    """Return the arrays in the dtype in which numpy would compute: float32 or float64.

    Arrays that already have this dtype are not copied. float16 becomes float32, integers become
    float64.
    """
    arrays = [np.asarray(array) for array in arrays]
    dtype = np.result_type(*arrays)
    if dtype.kind != "f":
        dtype = np.float64
    elif dtype.itemsize < 4:
        dtype = np.float32
    return [array.astype(dtype, copy=False) for array in arrays]
