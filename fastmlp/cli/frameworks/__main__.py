"""The process of one framework: ``python -m fastmlp.cli.frameworks NAME [WORKLOAD SECONDS]``.

It prints JSON.
"""

from __future__ import annotations

import importlib
import json
import sys

from fastmlp.cli.frameworks.workloads import WORKLOADS


def main(framework: str, workload: str = "", seconds: str = "1") -> None:
    """Print the version of a framework, or how fast it trains."""
    module = importlib.import_module(f"fastmlp.cli.frameworks.{framework}_side")
    if not workload:
        print(json.dumps(module.version()))
        return
    print(json.dumps(module.train(WORKLOADS[workload], float(seconds))))


if __name__ == "__main__":
    main(*sys.argv[1:])
