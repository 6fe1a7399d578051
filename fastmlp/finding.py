"""Layers and parameters of a network, by whatever users call them."""

from __future__ import annotations

from typing import Any

from fastmlp import _checks
from fastmlp.layers import Layer
from fastmlp.network import Network

__all__ = ["find_layer", "find_parameter"]


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
