"""How a network runs: as compiled plans, or layer by layer on numpy."""

from __future__ import annotations

from fastmlp._engines.base import Engine
from fastmlp.network import Network

__all__ = ["engine"]


def engine(network: Network) -> Engine:
    """Return what runs a network, by its backend; it is kept with the network.

    Raises
    ------
    ValueError
        If the first layer has not seen the data that it needs.
    """
    network.check_ready()
    kept: tuple[str, Engine] | None = network.engine
    if kept is None or kept[0] != network.backend:
        kept = network.engine = (network.backend, _make(network))
    return kept[1]


def _make(network: Network) -> Engine:
    # Here, so that a tree that is not built still has the other one.
    if network.backend == "numpy":
        from fastmlp._engines.layerwise import ReferenceEngine

        return ReferenceEngine(network)
    from fastmlp._engines.plans import PlanEngine

    return PlanEngine(network)
