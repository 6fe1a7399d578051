"""One side's process: ``python -m fastmlp.cli.frameworks SIDE [WORKLOAD SECONDS]`` prints JSON."""

from __future__ import annotations

import importlib
import json
import sys

from fastmlp.cli.frameworks.workloads import WORKLOADS


def main(side: str, workload: str = "", seconds: str = "1") -> None:
    """Print the version of a side, or how fast it trains."""
    module = importlib.import_module(f"fastmlp.cli.frameworks.{side}_side")
    if not workload:
        print(json.dumps(module.version()))
        return
    print(json.dumps(module.train(WORKLOADS[workload], float(seconds))))


if __name__ == "__main__":
    main(*sys.argv[1:])
