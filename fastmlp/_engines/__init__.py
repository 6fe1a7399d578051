"""Stage 2: running a network, as compiled plans or layer by layer on numpy."""

from __future__ import annotations

from fastmlp._engines.base import Engine
from fastmlp.network import Network

__all__ = ["engine"]


def engine(network: Network) -> Engine:
    """Return the engine for the backend of a network, which keeps it for the next call.

    Raises
    ------
    ValueError
        If the first layer still needs to see data.
    """
    network.check_ready()
    kept: tuple[str, Engine] | None = network.engine
    if kept is None or kept[0] != network.backend:
        kept = network.engine = (network.backend, _make(network))
    return kept[1]


def _make(network: Network) -> Engine:
    # Imported lazily so the numpy backend works without the compiled modules.
    if network.backend == "numpy":
        from fastmlp._engines.layerwise import ReferenceEngine

        return ReferenceEngine(network)
    from fastmlp._engines.plans import PlanEngine

    return PlanEngine(network)
