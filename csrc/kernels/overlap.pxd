# Outputs must not overlap inputs: the compiler and the loop nests rely on it.

cdef inline int refuse_overlap(
    const void *x, size_t x_bytes, const void *out, size_t out_bytes, bint same
) except -1:
    """Raise ValueError if two ranges overlap, unless `same` and they begin at one address."""
    cdef const char *x_start = <const char *>x
    cdef const char *out_start = <const char *>out
    if x_start >= out_start + out_bytes or out_start >= x_start + x_bytes:
        return 0
    if same:
        if x_start == out_start:
            return 0
        raise ValueError("out must not overlap the other arrays, unless it is one of them.")
    raise ValueError("out must not overlap the other arrays.")
