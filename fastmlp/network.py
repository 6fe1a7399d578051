"""A network: a chain of layers, their parameters and their description."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastmlp import _backend, _checks, initializers, losses
from fastmlp._types import Array, Shape
from fastmlp.layers import LAYERS, Activation, Conv2D, Dense, Layer, Standardize
from fastmlp.optimizers import Optimizer, OptimizerState
from fastmlp.parameter import Initializer, Parameter

if TYPE_CHECKING:
    from typing_extensions import Self  # in typing from Python 3.11 on

__all__ = ["Network", "find_layer", "find_parameter"]


class Network:
    """A chain of layers with its parameters; ``Sequential`` adds training.

    Parameters
    ----------
    layers : iterable of Layer
        At least one layer. A layer object belongs to one network only.
    input_shape : tuple of int, or int
        Shape of one sample.
    dtype : {"float32", "float64"}, default="float32"
        Type of the parameters and of all computation.
    seed : int, default=0
        Seed of the initial weights, the batch orders and the random layers, at least 0.
    scale : float, default=1.0
        Factor of the samples. With 1/255, images of bytes (uint8) stay bytes in memory.
    init : str, array or initializer, default=None
        Initial weights of the layers that were created without ``init``. None means the default of
        each layer.
    initialize : bool, default=True
        Whether to allocate and initialize the parameters. If False, they have shapes only, and a
        loader must assign their values.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described above, or a layer does not accept its input shape.
    """

    def __init__(
        self,
        layers: Iterable[Layer],
        input_shape: int | tuple[int, ...],
        dtype: npt.DTypeLike = "float32",
        seed: int = 0,
        *,
        scale: float = 1.0,
        init: str | Array | Initializer | None = None,
        initialize: bool = True,
    ) -> None:
        self.layers = _check_layers(layers)
        if init is not None:
            chosen = initializers.get(init, "init")
            for layer in self.layers:
                if not layer.own_init:
                    layer.init = chosen
        self.input_shape = _checks.shape(input_shape, "input_shape")
        self.dtype = _checks.float_dtype(dtype)
        self.seed = _checks.integer(seed, "seed", minimum=0)
        self.scale = _checks.positive(scale, "scale")
        self.engine: Any = None
        self._state: OptimizerState | None = None
        self.backend = _backend.DEFAULT
        self.epochs_begun = 0
        self.steps_done = 0
        self.stop_training = False
        self._build()
        if initialize:
            for index, stored in enumerate(self._stored().values()):
                stored.initialize(self.seed, index, self.dtype)

    def _build(self) -> None:
        """Name the layers, set their shapes and collect the parameters, without allocating."""
        counts: dict[str, int] = {}
        self._parameters: dict[str, Parameter] = {}
        self._buffers: dict[str, Parameter] = {}
        first = self.layers[0]
        if isinstance(first, Standardize):
            first.input_scale = self.scale
            first = self.layers[min(1, len(self.layers) - 1)]
        if len(self.input_shape) == 2 and first.takes_images:
            self.input_shape = (*self.input_shape, 1)
        shape = self.input_shape
        for number, layer in enumerate(self.layers):
            kind = type(layer).__name__.lower()
            layer.name, layer.number = f"{kind}_{counts.get(kind, 0)}", number
            if layer.integers_below is not None and number > 0:
                raise ValueError(
                    f"{layer.name} must be the first layer of a network because it takes integers, "
                    f"got layers[{number}]."
                )
            if layer.integers_below is not None and self.scale != 1:
                raise ValueError(
                    f"scale must be 1 because {layer.name} takes integers, got {self.scale}."
                )
            counts[kind] = counts.get(kind, 0) + 1
            layer.input_shape = shape
            layer.output_shape = shape = layer.build(shape)
            for each in (*layer.parameters, *layer.buffers):
                each.name = f"{layer.name}.{each.kind}"
                each.layer = layer
            self._parameters |= {each.name: each for each in layer.parameters}
            self._buffers |= {each.name: each for each in layer.buffers}
        self.output_shape = shape

    def lowest(self, *, trainable: bool) -> int:
        """Return the index of the lowest layer that the backward pass must reach.

        It is the first layer with parameters (with ``trainable``: that are trained) or with buffers
        that training steps change, because the backward pass changes them. The result is the number
        of layers if there is no such layer.
        """
        for index, layer in enumerate(self.layers):
            moved = layer.buffers and layer.moves_buffers
            if (layer.parameters and (layer.trainable or not trainable)) or moved:
                return index
        return len(self.layers)

    # --- Parameters -----------------------------------------------------------------------------

    @property
    def training_settings(self) -> tuple[tuple[Any, ...], ...]:
        """The training settings of all layers; a plan is compiled for their values."""
        return tuple([tuple(layer.training_settings.values()) for layer in self.layers])

    def penalty(self, ops: ModuleType | None = None) -> float:
        """Return the sum of the ``l1`` and ``l2`` penalties of all layers."""
        total = 0.0
        for parameter in self._parameters.values():
            l1, l2 = parameter.penalty
            if l1 or l2:  # the padding of panels is zero and adds nothing
                total += (ops or self.ops).weight_penalty(parameter.live, l1=l1, l2=l2)
        return total

    @property
    def num_parameters(self) -> int:
        """Number of parameter elements in all layers."""
        return sum(math.prod(parameter.shape) for parameter in self._parameters.values())

    @property
    def parameter_shapes(self) -> dict[str, Shape]:
        """Name and shape of every parameter, in order."""
        return {name: parameter.shape for name, parameter in self._parameters.items()}

    @property
    def parameters(self) -> dict[str, Array]:
        """The parameters by name: "dense_0.weight" (in, out), "dense_0.bias" (out,), and so on.

        The arrays are read-only copies of the present values. Change values with
        ``set_parameters``.
        """
        return _values(self._parameters)

    @property
    def buffers(self) -> dict[str, Array]:
        """Arrays that no gradient changes, by name: "batchnorm_0.running_mean" and so on.

        The arrays are read-only copies, as in ``parameters``.
        """
        return _values(self._buffers)

    @property
    def shapes(self) -> dict[str, Shape]:
        """Name and shape of every parameter and buffer, which are the arrays of a model file."""
        return {name: stored.shape for name, stored in self._stored().items()}

    @property
    def arrays(self) -> dict[str, Array]:
        """Parameters and buffers by name, as read-only copies: the arrays of a model file."""
        return self.parameters | self.buffers

    @property
    def counters(self) -> dict[str, int]:
        """Counts of epochs and steps, which are the keys of the next random numbers."""
        return {"epochs_begun": self.epochs_begun, "steps_done": self.steps_done}

    @counters.setter
    def counters(self, values: Mapping[str, int]) -> None:
        self.epochs_begun, self.steps_done = values["epochs_begun"], values["steps_done"]

    @property
    def named_parameters(self) -> dict[str, Parameter]:
        """The ``Parameter`` objects, by name."""
        return self._parameters

    def _stored(self) -> dict[str, Parameter]:
        return self._parameters | self._buffers

    def to_plain(self) -> None:
        """Store every parameter row-major in memory, as numpy needs it."""
        for parameter in self._parameters.values():
            parameter.plain()

    def state(self, optimizer: Optimizer) -> OptimizerState:
        """Return the state of ``optimizer`` for this network; a new optimizer gets a new state."""
        if self._state is None or self._state.optimizer is not optimizer:
            self._state = OptimizerState(optimizer)
        return self._state

    def forget(self) -> None:
        """Discard the state of the optimizer."""
        self._state = None

    def set_parameters(self, parameters: dict[str, npt.ArrayLike]) -> None:
        """Set parameters and buffers by name. Arrays that are not named do not change.

        Parameters
        ----------
        parameters : dict of str to array
            New values, which must be finite and have the shapes in ``parameters`` and ``buffers``.
            They are converted to the network's dtype. ``set_parameters(other.parameters |
            other.buffers)`` copies all values from another network.

        Raises
        ------
        ValueError, TypeError
            If a name is unknown, a shape is wrong, a value is not a finite number, or a running
            variance is negative. Nothing has changed in this case.
        """
        checked = _checks.parameter_values(parameters, self.shapes, self.dtype)
        self.check_ranges(checked)
        stored = self._stored()
        for name, value in checked.items():
            stored[name].write(value)

    def check_ranges(self, values: Mapping[str, Array]) -> None:
        """Raise ValueError if a value is below the minimum of its parameter or buffer.

        Only running variances have a minimum, which is 0.
        """
        stored = self._stored()
        for name, value in values.items():
            stored[name].check(value)

    def snapshot(self) -> list[Array]:
        """Return copies of all parameters and buffers, in their present memory layout."""
        return [stored.live.copy() for stored in self._stored().values()]

    def restore(self, snapshot: list[Array]) -> None:
        """Set all parameters and buffers to the values of a ``snapshot``."""
        for stored, value in zip(self._stored().values(), snapshot, strict=True):
            stored.restore(value)

    def is_finite(self) -> bool:
        """Return whether all parameters and buffers are finite."""
        return all(bool(np.isfinite(stored.live).all()) for stored in self._stored().values())

    def assign(self, values: Mapping[str, Array]) -> None:
        """Allocate every parameter and buffer and set it to ``values``, without checks."""
        for name, stored in self._stored().items():
            stored.assign(values[name], self.dtype)

    def __getstate__(self) -> dict[str, Any]:
        # Plans hold memory addresses. They are compiled again on first use.
        return self.__dict__ | {"engine": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # The kernels compare dtypes by identity, but an unpickled dtype is a different object.
        self.dtype = _checks.float_dtype(self.dtype)

    def copy(self, dtype: npt.DTypeLike | None = None) -> Self:
        """Return an independent network with the same layers and values, in ``dtype`` if given."""
        result = copy.copy(self)  # shares the parameters until _build makes new ones
        result._state = None
        result.layers = copy.deepcopy(self.layers)
        result.dtype = self.dtype if dtype is None else _checks.float_dtype(dtype)
        result._build()
        result.assign(self.parameters | self.buffers)
        return result

    # --- Data ---------------------------------------------------------------------------------

    @property
    def backend(self) -> str:
        """Name of the operations it runs on: "kernels" (compiled) or "numpy" (reference)."""
        return self._backend

    @backend.setter
    def backend(self, name: str) -> None:
        _backend.load(name)
        self._backend = name

    @property
    def ops(self) -> ModuleType:
        """The module with the operations of the backend."""
        return _backend.load(self._backend)

    def data(
        self,
        x: Any,
        y: Any,
        loss: losses.Loss,
        x_name: str = "x",
        y_name: str = "y",
        *,
        in_pieces: bool = False,
    ) -> tuple[Array, Array]:
        """Return checked samples and targets, in the form that the passes and the loss read.

        With ``in_pieces``, samples in a memory-mapped file that is too large for memory are neither
        read at once nor converted.

        Raises
        ------
        ValueError, TypeError
            If the samples do not match the network, or the targets do not match the samples or the
            loss.
        """
        loss.check_output(self.output_shape)
        x, y = _checks.array(x, x_name), _checks.array(y, y_name)
        _checks.same_length(x, y, x_name, y_name)
        samples = self.samples(x, x_name, in_pieces=in_pieces)
        return samples, loss.targets(y, len(samples), self.output_shape, self.dtype, y_name)

    def weights(
        self, value: Any, n: int, loss: losses.Loss, name: str = "sample_weight"
    ) -> Array | None:
        """Return the checked weights of ``n`` samples, float64 (n,); None stays None.

        Raises
        ------
        ValueError, TypeError
            If the weights are not finite, non-negative numbers with a sum above 0, one per sample,
            or the loss does not support weights.
        """
        if value is None:
            return None
        if not loss.takes_weights:
            raise ValueError(
                f"{name} requires a loss whose __call__ accepts the argument weights, got {loss!r}."
            )
        return _checks.sample_weight(value, n, name)

    @property
    def integers_below(self) -> int | None:
        """Exclusive upper limit of the samples if they are integers, otherwise None."""
        return self.layers[0].integers_below

    def samples(self, x: Any, name: str = "x", *, in_pieces: bool = False) -> Array:
        """Return checked samples, converted to the network's dtype unless bytes or integers."""
        below = self.integers_below
        if below is not None:
            return _checks.indices(x, self.input_shape, below, name)
        return _checks.features(x, self.input_shape, self.dtype, name, in_pieces=in_pieces)

    def check_ready(self) -> None:
        """Raise ValueError if the first layer is not ready to run."""
        self.layers[0].check_ready()

    def check_batches(self, n: int, batch: int) -> None:
        """Raise ValueError if training batches of ``n`` samples are too small for a layer.

        This includes the last batch, which may be shorter.
        """
        left = n % batch if n > batch else 0
        for layer in self.layers:
            least = layer.smallest_batch
            if min(n, batch) < least:
                raise ValueError(
                    f"{layer.name} requires at least {least} samples in a training batch, got "
                    f"{min(n, batch)}."
                )
            if 0 < left < least:
                raise ValueError(
                    f"{layer.name} requires at least {least} samples in every training batch, but "
                    f"{n} samples in batches of {batch} leave {left} for the last batch. Choose "
                    f"another batch_size or leave out {left} of the samples."
                )

    # --- Description ----------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        """Return plain values from which ``from_config`` makes an equal network without values.

        Raises
        ------
        ValueError
            If a layer is user-defined.
        """
        layers = []
        for index, layer in enumerate(self.layers):
            name = type(layer).__name__
            if LAYERS.get(name) is not type(layer):
                raise ValueError(
                    f"layers[{index}] is a user-defined layer ({name}), which model files cannot "
                    "store. Save model.parameters instead."
                )
            layers.append({"layer": name} | layer.config() | layer.changed_settings())
        return {
            "layers": layers,
            "input_shape": list(self.input_shape),
            "dtype": str(self.dtype),
            "seed": self.seed,
            "scale": self.scale,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return a network from its ``config``, with shapes but without memory for parameters.

        Raises
        ------
        ValueError, TypeError, KeyError
            If ``config`` is not a valid config.
        """
        layers = []
        for entry in config["layers"]:
            arguments = {key: value for key, value in entry.items() if value is not None}
            kind: Any = _checks.lookup(arguments.pop("layer", None), LAYERS, "layer")
            settings = {n: arguments.pop(n) for n in Layer.training_settings if n in arguments}
            layer = kind(**arguments)
            for setting, value in settings.items():
                setattr(layer, setting, value)
            layers.append(layer)
        shape, dtype, seed = tuple(config["input_shape"]), config["dtype"], config["seed"]
        scale = config.get("scale", 1.0)
        return cls(layers, shape, dtype, seed, scale=scale, initialize=False)

    @property
    def output_activation(self) -> str:
        """Name of the activation of the last layer; "linear" if it has none.

        A subclass with its own ``forward`` counts as linear, because what it applies is not known.
        """
        last = self.layers[-1]
        for kind in (Dense, Conv2D, Activation):
            if isinstance(last, kind) and type(last).forward is kind.forward:
                return last.activation.name
        return "linear"

    def summary(self) -> str:
        """Return a table of the layers with their output shapes and numbers of parameters."""
        rows = [("layer", "output shape", "parameters")]
        rows += [
            (
                f"{layer.name} {layer!r}",
                str(layer.output_shape),
                f"{sum(math.prod(p.shape) for p in layer.parameters):,}",
            )
            for layer in self.layers
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows]
        lines.insert(1, "-" * len(lines[0]))
        lines.append(lines[1])
        size = self.num_parameters * self.dtype.itemsize
        lines.append(
            f"input {self.input_shape}, {self.num_parameters:,} parameters, {self.dtype}, "
            f"{_readable_bytes(size)}"
        )
        return "\n".join(lines)


def _values(stored: Mapping[str, Parameter]) -> dict[str, Array]:
    """Return read-only copies."""
    values = {}
    for name, each in stored.items():
        value = each.value
        values[name] = value.copy() if value is each.live else value
        values[name].flags.writeable = False
    return values


def _check_layers(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    if isinstance(layers, Layer) or not isinstance(layers, Iterable):
        raise TypeError(f"layers must be a list of layers, got {layers!r}.")
    result = tuple(layers)
    if not result:
        raise ValueError("layers must contain at least one layer, got none.")
    for index, layer in enumerate(result):
        if not isinstance(layer, Layer):
            got, hint = repr(layer), ""
            if isinstance(layer, type):
                got, hint = f"the class {layer.__name__}", " Create an instance of it."
            raise TypeError(f"layers[{index}] must be a layer, got {got}.{hint}")
        if layer.input_shape is not None or any(layer is other for other in result[:index]):
            raise ValueError(
                f"layers[{index}] must be a new layer, got {layer!r}, which is already part of a "
                "network."
            )
    return result


def _readable_bytes(size: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} GiB"


def find_layer(network: Network, given: Any) -> Layer:
    """Return a layer of ``network``, given as a name, as an index or as a layer.

    Raises
    ------
    ValueError
        If the network has no such layer. The message lists the names, with the closest match.
    TypeError
        If ``given`` is neither a name nor an integer nor a layer.
    """
    named = {layer.name: layer for layer in network.layers}
    if isinstance(given, Layer):
        if named.get(given.name) is not given:
            raise ValueError(
                f"layer must be a layer of this model ({', '.join(named)}), got {given!r}, which "
                "is not."
            )
        return given
    if isinstance(given, str):
        return _checks.lookup(given, named, "layer")
    count = len(network.layers)
    number = _checks.integer(given, "layer", minimum=-count)
    if number >= count:
        raise ValueError(
            f"layer must be below {count}, the number of layers ({', '.join(named)}), got {number}."
        )
    return network.layers[number]


def find_parameter(network: Network, given: Any) -> str:
    """Return the name of a parameter, given as its name or as its layer.

    For a layer it is the parameter "weight", or the first one if the layer has no "weight".

    Raises
    ------
    ValueError
        If there is no such parameter. The message lists the names, with the closest match.
    TypeError
        If ``given`` is neither a name nor an integer nor a layer.
    """
    names = list(network.named_parameters)
    if isinstance(given, str):
        layers = [layer.name for layer in network.layers]
        given = _checks.lookup(given, {n: n for n in (*layers, *names)}, "layer")
        if given in names:
            return str(given)
    layer = find_layer(network, given)
    if not layer.parameters:
        known = ", ".join(names) or "none"
        raise ValueError(
            f"layer must have parameters, got {layer.name}, which has none. Parameters of the "
            f"model: {known}."
        )
    own = {parameter.kind: parameter for parameter in layer.parameters}
    return own.get("weight", layer.parameters[0]).name
