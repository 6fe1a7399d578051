# A window that slides over images: the kernel of a convolution, the pool of a pooling layer.

cdef enum:
    BYTE_PLACES = 256       # maximum places of a window for which a place is a byte, not int32


cdef struct Window:
    Py_ssize_t height, width, channels          # of the image
    Py_ssize_t kernel_height, kernel_width      # of the window
    Py_ssize_t stride_y, stride_x
    Py_ssize_t pad_top, pad_bottom, pad_left, pad_right
    Py_ssize_t out_height, out_width            # number of places


cdef inline Py_ssize_t image_size(const Window *w) noexcept nogil:
    """Return the values of an image."""
    return w.height * w.width * w.channels


cdef inline Py_ssize_t padded_row(const Window *w) noexcept nogil:
    """Return the values of a row of an image with its border of zeros."""
    return (w.pad_left + w.width + w.pad_right) * w.channels


cdef inline Py_ssize_t padded_size(const Window *w) noexcept nogil:
    return (w.pad_top + w.height + w.pad_bottom) * padded_row(w)


cdef inline bint is_padded(const Window *w) noexcept nogil:
    return w.pad_top + w.pad_bottom + w.pad_left + w.pad_right > 0


cdef inline Py_ssize_t places(const Window *w) noexcept nogil:
    """Return the number of places of the window in an image."""
    return w.out_height * w.out_width
