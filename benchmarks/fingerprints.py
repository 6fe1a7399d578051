"""Train many small networks and hash every bit they compute, to prove that a change alters none.

    python benchmarks/fingerprints.py [--out FILE] [--compare FILE] [--only PATTERN]

Run the script with the old code, then with the new code, on the same machine:

    cd /tmp
    python TREE/benchmarks/fingerprints.py --out before.json
    PYTHONPATH=TREE python TREE/benchmarks/fingerprints.py --compare before.json

The first run imports the installed fastmlp, the second one the tree. Each prints one line per
network: its name and a hash of the weights, buffers, predictions, history (without times),
gradients and evaluation. ``--compare`` lists every network whose hash differs, with the parts that
differ, and exits with status 1. ``--only`` selects networks by a regular expression.

Results depend on the instruction set, so each level needs a file: set FASTMLP_ISA to generic, avx2
or avx512. They also depend on the numpy version. Only public names of fastmlp are used.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import sys
import time
from pathlib import Path

# Sums in BLAS depend on its number of threads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from fingerprinted import layers, operations, python_parts, runs, settings, sources
from fingerprinted.recording import RUNS, Parts, digest

import fastmlp as fm


def instruction_set() -> str:
    """Return the instruction set of the compiled modules."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        fm.show_config()
    return re.search(r"^instruction set +(\S+)", text.getvalue(), re.MULTILINE)[1]


def differences(found: dict[str, Parts], expected: dict[str, Parts]) -> dict[str, list[str]]:
    """Return the names of the networks that differ, by what differs."""
    result: dict[str, list[str]] = {}
    for name in (*expected, *(name for name in found if name not in expected)):
        here, there = found.get(name), expected.get(name)
        if here is None or there is None:
            what = "missing here" if here is None else "missing in the file"
        elif "error" in here:
            what = here["error"]
        else:
            names = [part for part in here | there if here.get(part) != there.get(part)]
            what = ", ".join(names)
        if what:
            result.setdefault(what, []).append(name)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="write the hashes to this JSON file")
    parser.add_argument("--compare", type=Path, help="compare with the hashes in this JSON file")
    parser.add_argument("--only", default="", help="regular expression of the networks to train")
    parser.add_argument("--quiet", action="store_true", help="print no line for each network")
    arguments = parser.parse_args()
    for module in (settings, layers, python_parts, sources, runs, operations):
        module.register()
    began, level = time.perf_counter(), instruction_set()
    found: dict[str, Parts] = {}
    for name, train in RUNS.items():
        if not re.search(arguments.only, name):
            continue
        fm.set_num_threads(1)
        try:
            found[name] = train()
        except Exception as error:
            found[name] = {"error": f"{type(error).__name__}: {error}"}
        if not arguments.quiet:
            print(f"{name:<50} {found[name].get('error') or digest(found[name])}", flush=True)
    seconds = time.perf_counter() - began
    print(f"{len(found)} networks on {level} in {seconds:.1f} s, {Path(fm.__file__).parent}")
    if arguments.out is not None:
        text = json.dumps({"instruction set": level, "networks": found}, indent=1)
        arguments.out.write_text(text + "\n")
    if arguments.compare is None:
        return int(any("error" in hashes for hashes in found.values()))
    file = json.loads(arguments.compare.read_text())
    if file["instruction set"] != level:
        print(f"{arguments.compare} is of {file['instruction set']}: set FASTMLP_ISA.")
        return 1
    chosen = {k: v for k, v in file["networks"].items() if re.search(arguments.only, k)}
    changed = differences(found, chosen)
    for what, names in changed.items():
        print(f"{len(names)} differ ({what}):")
        print(*(f"    {name}" for name in names), sep="\n")
    count = sum(map(len, changed.values()))
    print(f"{count} of {len(chosen)} networks differ from {arguments.compare}")
    return int(bool(changed))


if __name__ == "__main__":
    sys.exit(main())
