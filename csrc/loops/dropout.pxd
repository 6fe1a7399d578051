# Random masks and noise: words that are a function of counters (simd/fm_random.h).

from libc.stdint cimport uint32_t, uint64_t

from dispatch cimport fm_f32, fm_f64, real

cdef extern from "fm_random.h" nogil:
    uint64_t fm_counter_key(uint64_t, uint64_t)


cdef inline void mask_rows(
    Py_ssize_t rows, Py_ssize_t n, const real *x, Py_ssize_t x_row, real *y, Py_ssize_t y_row,
    uint64_t key, Py_ssize_t row, Py_ssize_t column, uint32_t threshold, double scale,
) noexcept nogil:
    """y (rows, n) = x * scale, or 0 where dropped. y may be x.

    The first element is (row, column) of the batch; key belongs to the step.
    """
    if real is float:
        fm_f32.mask(rows, n, x, x_row, y, y_row, key, <uint32_t>row, <uint32_t>column, threshold,
                    <float>scale)
    else:
        fm_f64.mask(rows, n, x, x_row, y, y_row, key, <uint32_t>row, <uint32_t>column, threshold,
                    scale)


cdef inline void noise_rows(
    Py_ssize_t rows, Py_ssize_t n, const real *x, Py_ssize_t x_row, real *y, Py_ssize_t y_row,
    uint64_t key, Py_ssize_t row, double stddev,
) noexcept nogil:
    """y (rows, n) = x + stddev * N(0, 1), from row `row` of the batch on. y may be x."""
    if real is float:
        fm_f32.noise(rows, n, x, x_row, y, y_row, key, <uint32_t>row, 0, stddev)
    else:
        fm_f64.noise(rows, n, x, x_row, y, y_row, key, <uint32_t>row, 0, stddev)
