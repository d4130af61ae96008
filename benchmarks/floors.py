"""What trivial predictors reach on the data of the studies: the floors of the ledger's tasks. A few minutes.

    python benchmarks/floors.py --out results/reference/benchmarks/floors-cpu.json

Prints JSON: data, then predictor, then nats or share of the test split. Nothing is random or timed.
"""

import argparse
import json
from pathlib import Path

from regrad.pipeline.folders import cache_folder
from regrad.problems.floors import floors
from regrad.report.benchmarks import write


def main() -> None:
    """Compute, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found = {
        data: {name: float(f"{value:.5g}") for name, value in by.items()} for data, by in floors(cache_folder()).items()
    }
    text = json.dumps(found, indent=1)
    print(text)
    if options.out:
        write(options.out, text + "\n")


if __name__ == "__main__":
    main()
