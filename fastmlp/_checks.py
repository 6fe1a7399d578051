"""Checks of user input, and their error messages.

A check returns its argument in the form that the rest of the package expects, or raises ValueError
(wrong value or shape) or TypeError (wrong type). The message contains the argument's name, the
expected value and the received value. Cheap checks come first: an array is converted only if its
shape is right. No check changes its argument.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, cast

import numpy as np

from fastmlp import _frames, _memmap
from fastmlp._types import Array, DType, Shape

__all__ = [
    "array",
    "boolean",
    "class_weight",
    "features",
    "float_dtype",
    "hard_labels",
    "in_range",
    "indices",
    "integer",
    "labels",
    "lookup",
    "number",
    "pair_or_triple",
    "parameter_values",
    "positive",
    "probabilities",
    "refuse_old_names",
    "regression_targets",
    "same_length",
    "sample_weight",
    "shape",
    "short_sizes",
    "sizes",
    "verbosity",
]

_FEW_VALUES = 8192
_BATCH_VALUES = 1 << 20

T = TypeVar("T")


# --- Scalars ------------------------------------------------------------------------------------


def integer(value: Any, name: str, *, minimum: int) -> int:
    """Return a Python int of at least ``minimum``, from any integer type but bool."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be an integer, got {value!r}.")
    try:
        result = operator.index(value)
    except TypeError:
        raise TypeError(
            f"{name} must be an integer, got {_short(value)} of type {type(value).__name__}."
        ) from None
    if result < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {result}.")
    return result


def number(value: Any, name: str, *, minimum: float, below: float = math.inf) -> float:
    """Return a finite Python float of at least ``minimum``, and below ``below``."""
    kind = np.asarray(value).dtype.kind if isinstance(value, (np.generic, np.ndarray)) else ""
    real = isinstance(value, (int, float)) or (kind in ("i", "u", "f") and np.ndim(value) == 0)
    if not real or isinstance(value, bool):
        raise TypeError(
            f"{name} must be a number, got {_short(value)} of type {type(value).__name__}."
        )
    result = float(value)
    if not minimum <= result < below:
        wanted = f"at least {minimum:g} and below {below:g}"
        if below == math.inf:
            wanted = f"finite and at least {minimum:g}"
        raise ValueError(f"{name} must be {wanted}, got {result}.")
    return result


def positive(value: Any, name: str) -> float:
    """Return a finite Python float above 0."""
    result = number(value, name, minimum=0.0)
    if result == 0:
        raise ValueError(f"{name} must be above 0, got {result}.")
    return result


def boolean(value: Any, name: str) -> bool:
    """Return a Python bool."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {_short(value)}.")
    return bool(value)


def lookup(name: Any, table: Mapping[str, T], what: str) -> T:
    """Return ``table[name]``. The message lists the known names, with the closest match."""
    known = ", ".join(table)
    if not isinstance(name, str):
        raise TypeError(f"{what} must be one of {known}, got {_short(name)}.")
    if name not in table:
        import difflib  # imported for error messages only, because the import is slow

        near = difflib.get_close_matches(name, table, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{what} must be one of {known}, got {name!r}.{hint}")
    return table[name]


def class_weight(value: Any) -> tuple[Any, ...]:
    """Return class weights as a tuple of floats, or of pairs (class, weight) for a dict."""
    name = "class_weight"
    if isinstance(value, Mapping):
        pairs = {
            integer(label, f"each key of {name}", minimum=0): number(
                weight, f"{name}[{label!r}]", minimum=0.0
            )
            for label, weight in value.items()
        }
        if not pairs:
            raise ValueError(f"{name} must have at least one class, got {{}}.")
        return tuple(sorted(pairs.items()))
    given = array(value, name)
    if given.ndim != 1 or not given.size:
        raise ValueError(f"{name} must have shape (C,), one weight per class, got {given.shape}.")
    _check_weights(given, name)
    return tuple(map(float, given))


def sample_weight(value: Any, n: int, name: str = "sample_weight") -> Array:
    """Return the weights of ``n`` samples as float64 (n,): finite, at least 0 and not all 0."""
    given = array(value, name)
    if given.shape != (n,):
        raise ValueError(
            f"{name} must have shape ({n},), one weight per sample, got {given.shape}."
        )
    _check_weights(given, name)
    return np.ascontiguousarray(given, dtype=np.float64)


def _check_weights(given: Array, name: str) -> None:
    with np.errstate(invalid="ignore"):
        wrong = ~((given >= 0) & np.isfinite(given))
    if wrong.any():
        index = int(wrong.argmax())
        raise ValueError(
            f"{name} must contain finite, non-negative numbers, got {given[index].item()!r} at "
            f"index {index}."
        )
    total = float(given.sum(dtype=np.float64))
    if not 0 < total < math.inf:
        raise ValueError(f"{name} must have a finite sum above 0, got {total}.")


def float_dtype(value: Any) -> DType:
    """Return the native float32 or float64 dtype."""
    try:
        dtype = np.dtype(value) if value is not None else None
    except TypeError:
        dtype = None
    if dtype not in (np.float32, np.float64) or dtype is None:
        raise ValueError(f'dtype must be "float32" or "float64", got {_short(value)}.')
    return np.dtype(np.float32 if dtype == np.float32 else np.float64)


def shape(value: Any, name: str) -> Shape:
    """Return a tuple of positive ints. An int is a shape of one dimension."""
    sizes = value if isinstance(value, (tuple, list)) else (value,)
    if not sizes:
        raise ValueError(f"{name} must have at least one dimension, got {value!r}.")
    return tuple(integer(size, name, minimum=1) for size in sizes)


def sizes(value: Any, name: str) -> tuple[int, int]:
    """Return (height, width) or (y, x), at least 1. An integer stands for both."""
    if not isinstance(value, (tuple, list)):
        size = integer(value, name, minimum=1)
        return size, size
    if len(value) != 2:
        raise ValueError(f"{name} must be an integer or two integers (y, x), got {_short(value)}.")
    return integer(value[0], name, minimum=1), integer(value[1], name, minimum=1)


def short_sizes(value: tuple[int, int]) -> str:
    """Return two sizes as text, as one number if they are equal."""
    return str(value[0]) if value[0] == value[1] else str(value)


def pair_or_triple(value: Any, name: str) -> tuple[Any, Any, Any]:
    """Return the elements of (x, y, sample_weight); the weight of a pair (x, y) is None."""
    if not isinstance(value, (tuple, list)) or len(value) not in (2, 3):
        got = f"{len(value)} elements" if isinstance(value, (tuple, list)) else type(value).__name__
        raise ValueError(f"{name} must be a tuple (x, y) or (x, y, sample_weight), got {got}.")
    return value[0], value[1], value[2] if len(value) == 3 else None


def verbosity(value: Any) -> Literal["auto", 0, 1, 2]:
    """Return the verbosity. True and False are accepted for 1 and 0."""
    if isinstance(value, str) and value == "auto":
        return "auto"
    if isinstance(value, (int, np.integer)) and value in (0, 1, 2):
        return cast("Literal[0, 1, 2]", int(value))
    raise ValueError(f'verbose must be "auto", 0, 1 or 2, got {_short(value)}.')


# --- Arrays -------------------------------------------------------------------------------------


def array(value: Any, name: str) -> Array:
    """Return an array of real numbers with any shape and layout, without a copy if possible."""
    if value is None:
        raise TypeError(f"{name} must be an array, got None.")
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{name} must be an ordinary array, got a masked array. Fill it first, for instance "
            f"with {name}.filled(0)."
        )
    if _frames.is_frame(value):
        return _frames.to_array(value, name)
    try:
        result = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be a rectangular array of numbers: {error}") from None
    if result.dtype.kind not in ("f", "i", "u", "b"):
        raise TypeError(f"{name} must be an array of numbers, {_not_numbers(value, result)}.")
    return result


def same_length(x: Array, y: Array, x_name: str, y_name: str) -> None:
    """Raise ValueError if samples and targets differ in number. This precedes other checks."""
    if x.ndim and y.ndim and len(x) != len(y):
        raise ValueError(
            f"{x_name} and {y_name} must have the same length, got {len(x)} and {len(y)}."
        )


def features(
    value: Any,
    input_shape: Shape,
    dtype: DType,
    name: str = "x",
    *,
    in_pieces: bool = False,
) -> Array:
    """Return samples as a C-contiguous ``dtype`` array (N, *input_shape), finite and not empty.

    Bytes (uint8) stay bytes, because training converts them one batch at a time. For a flat
    ``input_shape`` (D,), samples may have any shape of D elements, such as images. For images of
    one channel (H, W, 1), samples may also have shape (H, W) or (H * W,). For more channels neither
    is accepted, because the order of the axes is unknown.

    With ``in_pieces``, a memory-mapped array that is too large for memory is checked in pieces and
    returned with its dtype unchanged.
    """
    if (
        type(value) is np.ndarray
        and value.dtype is dtype
        and ((shape := value.shape[1:]) == input_shape or (shape and _fits(shape, input_shape)))
        and 0 < value.size <= _BATCH_VALUES
        and value.flags.carray
    ):
        # The usual case, fastest for few samples. The sum of squares is finite unless an element
        # is not, or it overflows.
        if value.size > _FEW_VALUES:
            finite = bool(np.isfinite(value).all())
        else:
            squares: Any = np.vdot(value, value)
            finite = math.isfinite(squares)
        if finite:
            return value if shape == input_shape else value.reshape(len(value), *input_shape)
    x = array(value, name)
    if not _fits(x.shape[1:], input_shape) or x.ndim < 2:
        expected = "(" + ", ".join(["N", *map(str, input_shape)]) + ")"
        hint = _shape_hint(x.shape, input_shape, name)
        raise ValueError(f"{name} must have shape {expected}, got {x.shape}.{hint}")
    if len(x) == 0:
        raise ValueError(f"{name} must hold at least one sample, got shape {x.shape}.")
    if in_pieces and _memmap.is_large(x):
        if x.dtype.kind == "f":
            for first, part in _memmap.pieces(x):
                _finite(part, dtype, name, first)
        return x.reshape(len(x), *input_shape)
    if x.dtype == np.uint8:
        return np.ascontiguousarray(x).reshape(len(x), *input_shape)
    return _finite(x, dtype, name).reshape(len(x), *input_shape)


def _fits(shape: Shape, input_shape: Shape) -> bool:
    """Return whether ``shape`` is another way to write samples of ``input_shape``."""
    if shape == input_shape:
        return True
    if len(input_shape) == 1:
        return math.prod(shape) == input_shape[0]
    grey = len(input_shape) == 3 and input_shape[2] == 1
    return grey and shape in (input_shape[:2], (math.prod(input_shape),))


def _shape_hint(shape: Shape, input_shape: Shape, name: str) -> str:
    """Return advice for samples of a wrong shape, or an empty string."""
    if shape == input_shape or (input_shape[2:] == (1,) and shape == input_shape[:2]):
        return f" For a single sample pass {name}[None]."
    if len(input_shape) != 3:
        return ""
    height, width, channels = input_shape
    if shape[1:] == (channels, height, width):
        return f" Channels come last: pass fm.layouts.images_from_torch({name})."
    if shape[1:] == (height, width):
        return f" Images without a channel axis have one channel, but the model takes {channels}."
    if shape[1:] == (height * width * channels,):
        return (
            f" Pass {name}.reshape(-1, {height}, {width}, {channels}) if the channels of a pixel "
            f"are adjacent, or fm.layouts.images_from_torch({name}.reshape(-1, {channels}, "
            f"{height}, {width})) if each channel is a separate plane."
        )
    return ""


def indices(value: Any, input_shape: Shape, below: int, name: str = "x") -> Array:
    """Return samples of integers from 0 to ``below - 1`` as int32 or int64 (N, *input_shape).

    int32 and int64 do not change. Other integer types become int32 if it represents all of their
    values, and int64 otherwise.
    """
    x = array(value, name)
    if x.dtype.kind not in ("i", "u"):
        raise TypeError(f"{name} must hold integers, got dtype {x.dtype}.")
    expected = "(" + ", ".join(["N", *map(str, input_shape)]) + ")"
    if x.ndim < 2 or math.prod(x.shape[1:]) != math.prod(input_shape):
        hint = f" For a single sample pass {name}[None]." if x.shape == input_shape else ""
        raise ValueError(f"{name} must have shape {expected}, got {x.shape}.{hint}")
    if len(x) == 0:
        raise ValueError(f"{name} must hold at least one sample, got shape {x.shape}.")
    return in_range(x, below, name).reshape(len(x), *input_shape)


def in_range(x: Array, below: int, name: str) -> Array:
    """Return an array of integers from 0 to ``below - 1`` as C-contiguous int32 or int64."""
    if x.size and not 0 <= int(x.min()) <= int(x.max()) < below:
        index = np.unravel_index(int(((x < 0) | (x >= below)).argmax()), x.shape)
        raise ValueError(
            f"{name} must hold integers from 0 to {below - 1}, got {x[index].item()} at index "
            f"{tuple(map(int, index))}."
        )
    small = x.dtype.itemsize < 4 or (x.dtype.kind == "i" and x.dtype.itemsize == 4)
    return np.require(x, np.dtype(np.int32 if small else np.int64), ["C", "A"])


def labels(value: Any, n: int, classes: int, dtype: DType, name: str = "y") -> Array:
    """Return labels in [0, classes) as int64 (n,), or probabilities as ``dtype`` (n, classes)."""
    y = array(value, name)
    _one_each(y, n, name)
    if y.ndim == 2:
        return _probabilities(y, classes, dtype, name)
    if y.ndim != 1:
        raise ValueError(
            f"{name} must have shape (N,) for labels or (N, {classes}) for one-hot rows, "
            f"got {y.shape}."
        )
    # NaN fails the first comparison. Floats with integer values are accepted.
    with np.errstate(invalid="ignore"):
        wrong = ~((y >= 0) & (y < classes))
        if y.dtype.kind == "f":
            wrong |= y != np.trunc(y)
    if wrong.any():
        index = int(wrong.argmax())
        raise ValueError(
            f"{name} must hold integer labels from 0 to {classes - 1} (the model has {classes} "
            f"outputs), got {y[index].item()!r} at index {index}."
        )
    return np.ascontiguousarray(y, dtype=np.int64)


def regression_targets(
    value: Any, n: int, output_shape: Shape, dtype: DType, name: str = "y"
) -> Array:
    """Return targets as a C-contiguous ``dtype`` array (n, *output_shape)."""
    y = array(value, name)
    _one_each(y, n, name)
    if y.shape[1:] != output_shape and not (y.ndim == 1 and output_shape == (1,)):
        expected = "(" + ", ".join(["N", *map(str, output_shape)]) + ")"
        raise ValueError(f"{name} must have shape {expected} for this loss, got {y.shape}.")
    return _finite(y, dtype, name).reshape(n, *output_shape)


def probabilities(value: Any, n: int, output_shape: Shape, dtype: DType, name: str = "y") -> Array:
    """Return targets from 0 to 1 as a C-contiguous ``dtype`` array (n, *output_shape)."""
    y = regression_targets(value, n, output_shape, dtype, name)
    wrong = (y < 0) | (y > 1)
    if wrong.any():
        index = np.unravel_index(int(wrong.argmax()), y.shape)
        raise ValueError(
            f"{name} must hold targets from 0 to 1 for this loss, got {y[index].item()!r} at index "
            f"{tuple(map(int, index))}."
        )
    return y


def hard_labels(value: Any, n: int, classes: int, dtype: DType, name: str = "y") -> Array:
    """Return labels in [0, classes) as int64 (n,), from labels or one-hot rows."""
    y = labels(value, n, classes, dtype, name)
    if y.ndim == 1:
        return y
    soft = y.max(axis=1) != 1
    if soft.any():
        index = int(soft.argmax())
        raise ValueError(
            f"{name} must hold integer labels or one-hot rows for this loss, got "
            f"{_short(y[index].tolist())} at index {index}."
        )
    return np.asarray(y.argmax(axis=1), np.int64)


def parameter_values(values: Any, shapes: Mapping[str, Shape], dtype: DType) -> dict[str, Array]:
    """Return new parameter values as finite ``dtype`` arrays, or raise if any is wrong."""
    if not isinstance(values, Mapping):
        raise TypeError(
            f"parameters must be a dict from names to arrays, got {type(values).__name__}."
        )
    checked = {}
    for name, value in values.items():
        wanted = lookup(name, shapes, "parameter name")
        new = array(value, name)
        if new.shape != wanted:
            raise ValueError(f"{name} must have shape {wanted}, got {new.shape}.")
        checked[name] = _finite(new, dtype, name)
    return checked


def _finite(x: Array, dtype: DType, name: str, first: int = 0) -> Array:
    """Return ``x`` as an aligned, native, C-contiguous ``dtype`` array, checked to be finite.

    ``first`` is the index of the first sample, for the message.
    """
    with np.errstate(all="ignore"):
        result = np.require(x, dtype=dtype, requirements=["C", "A"])
        # A sum is the cheapest test. It is finite unless an element is not, or it overflows.
        if x.dtype.kind == "f" and not np.isfinite(result.sum()):
            finite = np.isfinite(result)
            if not finite.all():
                index = tuple(map(int, np.unravel_index(int(finite.argmin()), x.shape)))
                value = x[index].item()
                index = (index[0] + first, *index[1:]) if index else index
                raise ValueError(
                    f"{name} must hold finite {dtype} numbers, got {value!r} at index {index}."
                )
    return result


def _one_each(y: Array, n: int, name: str) -> None:
    if y.ndim == 0 or len(y) != n:
        got = "a single value" if y.ndim == 0 else str(len(y))
        raise ValueError(f"{name} must have one target per sample ({n}), got {got}.")


def _probabilities(y: Array, classes: int, dtype: DType, name: str) -> Array:
    if y.shape[1] != classes:
        hint = f" For integer labels pass {name}.ravel()." if y.shape[1] == 1 else ""
        raise ValueError(
            f"{name} must have one-hot rows of width {classes}, got shape {y.shape}.{hint}"
        )
    result = _finite(y, dtype, name)
    wrong = (result.min(axis=1) < 0) | (np.abs(result.sum(axis=1) - 1) > 1e-3)
    if wrong.any():
        index = int(wrong.argmax())
        raise ValueError(
            f"{name} must have rows of probabilities that sum to 1, "
            f"got {_short(y[index].tolist())} at index {index}."
        )
    return result


def _not_numbers(value: Any, converted: Array) -> str:
    """Describe a value that is not an array of numbers, for an error message."""
    if converted.dtype.names is not None:
        return "got a structured array"
    if converted.dtype.kind in ("O", "U", "S"):
        for index, item in enumerate(np.asarray(value, dtype=object).flat):
            if isinstance(item, (str, bytes)):
                return f"got {_short(item)} at index {index}"
        if not converted.size:
            return f"got an empty array of dtype {converted.dtype}"
        return f"got objects such as {_short(converted.flat[0])}"
    return f"got dtype {converted.dtype}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def refuse_old_names(kind: type[Any], renamed: Mapping[str, str]) -> None:
    """Check that a class defines no method under an old name."""
    for old, new in renamed.items():
        if hasattr(kind, old):
            raise TypeError(
                f"{kind.__name__} defines {old}, which is called {new} now. Rename the method."
            )
