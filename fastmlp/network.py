"""A network: layers, their parameters, and the passes through them."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastmlp import _backend, _checks, initializers, losses
from fastmlp._types import Array
from fastmlp.layers import LAYERS, Activation, Conv2D, Dense, Layer, Standardize
from fastmlp.optimizers import Optimizer, OptimizerState
from fastmlp.parameter import Initializer, Parameter

if TYPE_CHECKING:
    from typing_extensions import Self  # typing's own from Python 3.11 on

__all__ = ["Network", "find_layer", "find_parameter"]


class Network:
    """A chain of layers with its parameters; ``Sequential`` adds the training.

    Parameters
    ----------
    layers : iterable of Layer
        At least one; a layer object belongs to one network.
    input_shape : tuple of int, or int
        Shape of one sample.
    dtype : {"float32", "float64"}, default="float32"
        Type of the parameters and of all computation.
    seed : int, default=0
        Key of the initial weights, of the batch orders and of what layers draw, at least 0.
    scale : float, default=1.0
        Factor of the samples: 1/255 for images of bytes, which then stay bytes in memory.
    init : str, array or initializer, default=None
        Initial weights of the layers that were made without ``init``; None leaves each its own.
    initialize : bool, default=True
        Without it the parameters have shapes but no memory yet, for a loader to give them.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as above or a layer cannot take the shape it would get.
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
        self.scale = _checks.number(scale, "scale", minimum=0.0)
        if self.scale == 0:
            raise ValueError("scale must be above 0, got 0.0.")
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
        """Name the layers, hand the shapes through, collect the parameters; takes no memory."""
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
            if layer.integers_below is not None and (number > 0 or self.scale != 1):
                wanted = "be the first layer" if number > 0 else "have no scale"
                raise ValueError(f"{layer.name} must {wanted} of a network: it takes integers.")
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
        """Return the first layer with parameters (that are trained): none below needs a gradient.

        Buffers that steps change count as trained: they do in the backward pass. The number of
        layers where there is none.
        """
        for index, layer in enumerate(self.layers):
            moved = layer.buffers and layer.moves_buffers
            if (layer.parameters and (layer.trainable or not trainable)) or moved:
                return index
        return len(self.layers)

    # --- Parameters -----------------------------------------------------------------------------

    @property
    def training_settings(self) -> tuple[tuple[Any, ...], ...]:
        """What the layers say of their training: plans are made for it."""
        return tuple([tuple(layer.training_settings.values()) for layer in self.layers])

    def penalty(self, ops: ModuleType | None = None) -> float:
        """Return what the weights add to the loss by ``l1`` and ``l2`` of their layers."""
        total = 0.0
        for parameter in self._parameters.values():
            l1, l2 = parameter.penalty
            if l1 or l2:  # zeros behind the last column of a panel add nothing
                total += (ops or self.ops).weight_penalty(parameter.live, l1=l1, l2=l2)
        return total

    @property
    def num_parameters(self) -> int:
        """Number of trainable values."""
        return sum(math.prod(parameter.shape) for parameter in self._parameters.values())

    @property
    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter, in order."""
        return {name: parameter.shape for name, parameter in self._parameters.items()}

    @property
    def parameters(self) -> dict[str, Array]:
        """The parameters by name: "dense_0.weight" (in, out), "dense_0.bias" (out,), and so on.

        The arrays are read-only and hold the values of this moment; change values with
        ``set_parameters``.
        """
        return _values(self._parameters)

    @property
    def buffers(self) -> dict[str, Array]:
        """What training changes besides the parameters: "batchnorm_0.running_mean" and so on.

        Read-only copies, as with ``parameters``.
        """
        return _values(self._buffers)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter and buffer: of all that a model file holds."""
        return {name: stored.shape for name, stored in self._stored().items()}

    @property
    def arrays(self) -> dict[str, Array]:
        """Parameters and buffers: what a model file holds. Read-only copies."""
        return self.parameters | self.buffers

    @property
    def counters(self) -> dict[str, int]:
        """How much it has been trained: keys of the random numbers that are drawn next."""
        return {"epochs_begun": self.epochs_begun, "steps_done": self.steps_done}

    @counters.setter
    def counters(self, values: Mapping[str, int]) -> None:
        self.epochs_begun, self.steps_done = values["epochs_begun"], values["steps_done"]

    @property
    def named_parameters(self) -> dict[str, Parameter]:
        """The parameters themselves, by name."""
        return self._parameters

    def _stored(self) -> dict[str, Parameter]:
        return self._parameters | self._buffers

    def to_plain(self) -> None:
        """Give every parameter its own shape in memory, as numpy wants it."""
        for parameter in self._parameters.values():
            parameter.plain()

    def state(self, optimizer: Optimizer) -> OptimizerState:
        """Return what ``optimizer`` remembers of this network; another one begins anew."""
        if self._state is None or self._state.optimizer is not optimizer:
            self._state = OptimizerState(optimizer)
        return self._state

    def forget(self) -> None:
        """Let the optimizer begin anew."""
        self._state = None

    def set_parameters(self, parameters: dict[str, npt.ArrayLike]) -> None:
        """Set parameters and buffers by name; those not named stay as they are.

        Parameters
        ----------
        parameters : dict of str to array
            Values of the shapes in ``parameters`` and ``buffers``, finite, converted to the
            network's dtype. So ``set_parameters(other.parameters | other.buffers)`` makes a network
            compute what another one does.

        Raises
        ------
        ValueError, TypeError
            If a name is unknown, a shape is wrong, a value is not a finite number or a running
            variance is negative. Then nothing has changed.
        """
        checked = _checks.parameter_values(parameters, self.shapes, self.dtype)
        self.check_ranges(checked)
        stored = self._stored()
        for name, value in checked.items():
            stored[name].write(value)

    def check_ranges(self, values: Mapping[str, Array]) -> None:
        """Refuse values by name that lie below what their parameter or buffer may be.

        Raises
        ------
        ValueError
            If a running variance is negative.
        """
        stored = self._stored()
        for name, value in values.items():
            stored[name].check(value)

    def snapshot(self) -> list[Array]:
        """Return a copy of all parameters and buffers, as they lie in memory now."""
        return [stored.live.copy() for stored in self._stored().values()]

    def restore(self, snapshot: list[Array]) -> None:
        """Set all parameters and buffers to those of a ``snapshot``."""
        for stored, value in zip(self._stored().values(), snapshot, strict=True):
            stored.restore(value)

    def is_finite(self) -> bool:
        """Return whether no parameter and no buffer has a NaN or an infinity."""
        return all(bool(np.isfinite(stored.live).all()) for stored in self._stored().values())

    def assign(self, values: Mapping[str, Array]) -> None:
        """Give every parameter and buffer new memory with its array of ``values``, unchecked."""
        for name, stored in self._stored().items():
            stored.assign(values[name], self.dtype)

    def __getstate__(self) -> dict[str, Any]:
        # Plans hold addresses; they are made again when needed.
        return self.__dict__ | {"engine": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # What was pickled has a dtype that equals numpy's own and is another object; the kernels
        # tell dtypes by identity.
        self.dtype = _checks.float_dtype(self.dtype)

    def copy(self, dtype: npt.DTypeLike | None = None) -> Self:
        """Return an independent network of the same layers and values, in ``dtype`` if given."""
        result = copy.copy(self)  # which shares the parameters, until they are built anew
        result._state = None
        result.layers = copy.deepcopy(self.layers)
        result.dtype = self.dtype if dtype is None else _checks.float_dtype(dtype)
        result._build()
        result.assign(self.parameters | self.buffers)
        return result

    # --- Data ---------------------------------------------------------------------------------

    @property
    def backend(self) -> str:
        """The operations it runs on: "kernels", compiled, or "numpy", the reference."""
        return self._backend

    @backend.setter
    def backend(self, name: str) -> None:
        _backend.load(name)
        self._backend = name

    @property
    def ops(self) -> ModuleType:
        """The module of operations of the backend."""
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
        """Return samples and targets checked, and as the passes and the loss take them.

        With ``in_pieces`` samples of a mapped file too large for memory stay there, as they are.

        Raises
        ------
        ValueError, TypeError
            If they do not fit the network, the loss or each other.
        """
        loss.check_output(self.output_shape)
        x, y = _checks.array(x, x_name), _checks.array(y, y_name)
        _checks.same_length(x, y, x_name, y_name)
        samples = self.samples(x, x_name, in_pieces=in_pieces)
        return samples, loss.targets(y, len(samples), self.output_shape, self.dtype, y_name)

    def weights(
        self, value: Any, n: int, loss: losses.Loss, name: str = "sample_weight"
    ) -> Array | None:
        """Return weights of ``n`` samples checked, float64 (n,); None stays None.

        Raises
        ------
        ValueError, TypeError
            If they are not finite numbers of at least 0 with a sum above 0, one a sample, or the
            loss takes none.
        """
        if value is None:
            return None
        if not loss.takes_weights:
            raise ValueError(
                f"{name} needs a loss whose __call__ has an argument weights, got {loss!r}."
            )
        return _checks.sample_weight(value, n, name)

    @property
    def integers_below(self) -> int | None:
        """What the samples are less than, where they are integers; else None."""
        return self.layers[0].integers_below

    def samples(self, x: Any, name: str = "x", *, in_pieces: bool = False) -> Array:
        """Return samples checked: of the network's dtype, or bytes and integers as they are."""
        below = self.integers_below
        if below is not None:
            return _checks.indices(x, self.input_shape, below, name)
        return _checks.features(x, self.input_shape, self.dtype, name, in_pieces=in_pieces)

    def check_ready(self) -> None:
        """Refuse a pass before the first layer has seen the data that it needs.

        Raises
        ------
        ValueError
            If it has not.
        """
        self.layers[0].check_ready()

    def check_batches(self, n: int, batch: int) -> None:
        """Refuse training on ``n`` samples in batches of which one is too small for a layer.

        Raises
        ------
        ValueError
            If a batch, or the shorter one that is left at the end, has too few samples.
        """
        left = n % batch if n > batch else 0
        for layer in self.layers:
            least = layer.smallest_batch
            if min(n, batch) < least:
                raise ValueError(
                    f"{layer.name} needs at least {least} samples in a training batch, got "
                    f"{min(n, batch)}."
                )
            if 0 < left < least:
                raise ValueError(
                    f"{layer.name} needs at least {least} samples in every training batch, but "
                    f"{n} samples in batches of {batch} leave a last one of {left}. Choose another "
                    f"batch_size or leave out {left} of the samples."
                )

    # --- Description ----------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        """Return what ``from_config`` makes the network of again, but for the values.

        Raises
        ------
        ValueError
            If a layer is of a class that is not fastmlp's.
        """
        layers = []
        for index, layer in enumerate(self.layers):
            name = type(layer).__name__
            if LAYERS.get(name) is not type(layer):
                raise ValueError(f"layers[{index}] is of a class of your own and cannot be saved.")
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
        """Return a network from its ``config``: with shapes, but without memory for parameters.

        Raises
        ------
        ValueError, TypeError, KeyError
            If the config is not one.
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
        """Name of the activation of the last layer, "linear" if it has none."""
        last = self.layers[-1]
        return last.activation.name if isinstance(last, (Dense, Conv2D, Activation)) else "linear"

    def summary(self) -> str:
        """Return a table of the layers: output shape and number of parameters of each."""
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
        raise ValueError("layers must hold at least one layer, got none.")
    for index, layer in enumerate(result):
        if not isinstance(layer, Layer):
            hint = " (the class; call it)" if isinstance(layer, type) else ""
            raise TypeError(f"layers[{index}] must be a layer, got {layer!r}{hint}.")
        if layer.input_shape is not None or any(layer is other for other in result[:index]):
            raise ValueError(
                f"layers[{index}] is already part of a network, got {layer!r}. Make a new layer."
            )
    return result


def _readable_bytes(size: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} GiB"


def find_layer(network: Network, given: Any) -> Layer:
    """Return a layer of ``network`` from its name, its number or itself.

    Raises
    ------
    ValueError
        If there is no such layer; the message lists the names, and the nearest.
    TypeError
        If it is none of these.
    """
    named = {layer.name: layer for layer in network.layers}
    if isinstance(given, Layer):
        if named.get(given.name) is not given:
            raise ValueError(
                f"layer must be one of this model, that is one of {', '.join(named)}, got {given!r}"
                " of elsewhere."
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
    """Return the name of a parameter from its name, or from its layer: the "weight", or the first.

    Raises
    ------
    ValueError
        If there is none; the message lists the names, and the nearest.
    TypeError
        If it is neither a name nor a layer nor its number.
    """
    names = list(network.named_parameters)
    if isinstance(given, str):
        layers = [layer.name for layer in network.layers]
        given = _checks.lookup(given, {n: n for n in (*layers, *names)}, "layer")
        if given in names:
            return str(given)
    layer = find_layer(network, given)
    if not layer.parameters:
        known = ", ".join(names) or "none in this model"
        raise ValueError(
            f"layer must have parameters (there are {known}), got {layer.name}, which has none."
        )
    own = {parameter.kind: parameter for parameter in layer.parameters}
    return own.get("weight", layer.parameters[0]).name
