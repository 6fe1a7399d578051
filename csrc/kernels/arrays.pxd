# Arrays that are ready for the kernels: exact numpy arrays, C-contiguous, aligned and native.
#
# A public function passes its arguments unchanged to the compiled function. numpy's C interface
# shows in a few nanoseconds whether all arrays are ready. If they are, the compiled function does
# the work and returns the result. Otherwise it does nothing and returns None; fastmlp/_arrays.py
# then converts the arrays or raises.
#
# A module calls _import_array() once, at its import.

from cpython.ref cimport Py_INCREF

from kernels.overlap cimport refuse_overlap

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX

cdef extern from "numpy/arrayobject.h":
    ctypedef Py_ssize_t npy_intp
    ctypedef struct PyArrayObject
    enum:
        NPY_UINT8, NPY_INT64, NPY_FLOAT, NPY_DOUBLE
        NPY_ARRAY_CARRAY, NPY_ARRAY_CARRAY_RO
    int _import_array() except -1
    bint PyArray_CheckExact(object x)
    bint PyArray_ISNOTSWAPPED(PyArrayObject *x)
    bint PyArray_CHKFLAGS(PyArrayObject *x, int flags)
    int PyArray_TYPE(PyArrayObject *x)
    int PyArray_NDIM(PyArrayObject *x)
    npy_intp PyArray_SIZE(PyArrayObject *x)
    npy_intp PyArray_NBYTES(PyArrayObject *x)
    npy_intp *PyArray_DIMS(PyArrayObject *x)
    void *PyArray_DATA(PyArrayObject *x)
    npy_intp PyArray_OverflowMultiplyList(npy_intp *, int)
    object PyArray_EMPTY(int ndim, npy_intp *shape, int type, bint fortran)
    object PyArray_SimpleNewFromData(int ndim, npy_intp *shape, int type, void *data)
    int PyArray_SetBaseObject(PyArrayObject *x, object base) except -1

cdef enum:
    ALIGNMENT = 64
    ALIGNED_BYTES = 8192  # minimum size of an aligned array; alignment does not matter below


cdef inline void *data_of(object x) noexcept:
    return PyArray_DATA(<PyArrayObject *>x)


cdef inline npy_intp *shape_of(object x) noexcept:
    return PyArray_DIMS(<PyArrayObject *>x)


cdef inline int ndim_of(object x) noexcept:
    return PyArray_NDIM(<PyArrayObject *>x)


cdef inline Py_ssize_t size_of(object x) noexcept:
    return PyArray_SIZE(<PyArrayObject *>x)


cdef inline size_t bytes_of(object x) noexcept:
    return PyArray_NBYTES(<PyArrayObject *>x)


cdef inline int type_of(object x, int flags=NPY_ARRAY_CARRAY_RO) noexcept:
    """Return NPY_FLOAT, ... for an array with these flags, -1 for anything else."""
    if not PyArray_CheckExact(x):
        return -1
    if not PyArray_CHKFLAGS(<PyArrayObject *>x, flags):
        return -1
    return PyArray_TYPE(<PyArrayObject *>x) if PyArray_ISNOTSWAPPED(<PyArrayObject *>x) else -1


cdef inline int real_type(object x, int ndim=-1) noexcept:
    """Return NPY_FLOAT or NPY_DOUBLE for an operand of ndim dimensions (-1: any), else -1."""
    cdef int type = type_of(x)
    if type != NPY_FLOAT and type != NPY_DOUBLE or ndim >= 0 and ndim_of(x) != ndim:
        return -1
    return type


cdef inline bint is_array(
    object x, int type, int ndim, const npy_intp *shape, int flags=NPY_ARRAY_CARRAY_RO
) noexcept:
    """Return whether x is an array with these flags, this type and this shape."""
    cdef int i
    if type_of(x, flags) != type or ndim_of(x) != ndim:
        return False
    for i in range(ndim):
        if shape_of(x)[i] != shape[i]:
            return False
    return True


cdef inline object new_array(int ndim, npy_intp *shape, int type):
    """Return an uninitialised array; from ALIGNED_BYTES on, it begins at a cache line.

    Vectors that straddle two cache lines cost matrix products up to a fifth of their speed, and
    numpy aligns only to 16 bytes.
    """
    cdef npy_intp size = PyArray_OverflowMultiplyList(shape, ndim)
    cdef char *start
    if size < 0 or size > PY_SSIZE_T_MAX // 16:
        return PyArray_EMPTY(ndim, shape, type, False)  # raises
    size *= 8 if type == NPY_DOUBLE else 4
    if size < ALIGNED_BYTES:
        return PyArray_EMPTY(ndim, shape, type, False)
    size += ALIGNMENT
    try:
        memory = PyArray_EMPTY(1, &size, NPY_UINT8, False)
    except MemoryError:
        return PyArray_EMPTY(ndim, shape, type, False)  # also raises, and names the shape
    start = <char *>data_of(memory)
    start += -<Py_ssize_t>start & (ALIGNMENT - 1)
    result = PyArray_SimpleNewFromData(ndim, shape, type, start)
    Py_INCREF(memory)  # the next call steals a reference
    PyArray_SetBaseObject(<PyArrayObject *>result, memory)
    return result


cdef inline object output(object out, int type, int ndim, npy_intp *shape):
    """Return out, or a new array if out is None; None if out has another type or shape."""
    if out is None:
        return new_array(ndim, shape, type)
    return out if is_array(out, type, ndim, shape, NPY_ARRAY_CARRAY) else None


cdef inline int refuse_shared(object x, object out, bint same=False) except -1:
    """Raise ValueError if two arrays overlap, unless `same` and they begin at one address."""
    if bytes_of(x) == 0 or bytes_of(out) == 0:
        return 0
    return refuse_overlap(data_of(x), bytes_of(x), data_of(out), bytes_of(out), same)


cdef inline object output_like(object x, int type, object out):
    """Return output() with the shape of x. It may be x, but must not overlap x otherwise."""
    out = output(out, type, ndim_of(x), shape_of(x))
    if out is not None:
        refuse_shared(x, out, True)
    return out
