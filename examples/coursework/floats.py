"""One floating dtype for the arrays of a call, by numpy's rules; the kernels insist on one."""

import numpy as np


def floats(*arrays):
    """Return the arrays in the dtype that numpy would compute in: float32 or float64.

    No array is copied that has it already. float16 is computed as float32, integers as float64.
    """
    arrays = [np.asarray(array) for array in arrays]
    dtype = np.result_type(*arrays)
    if dtype.kind != "f":
        dtype = np.float64
    elif dtype.itemsize < 4:
        dtype = np.float32
    return [array.astype(dtype, copy=False) for array in arrays]
