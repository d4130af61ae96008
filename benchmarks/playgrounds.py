"""How long each playground takes in the real JupyterLab: to run from a new kernel, and to answer a control.

    python benchmarks/playgrounds.py --out results/reference/benchmarks/playgrounds-cpu.json

Seconds on the clock, Chromium and kernel on one machine with nothing else to do. An answer is a control let go until
its new picture is on the page. The first look at a study reads its records: the longest answer of a playground of
records is that. Prints a table and writes JSON.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from regrad.report.benchmarks import write
from regrad.runner.circumstances import processor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from lab_desk import PLAYGROUNDS, start_page  # the tests' own way through the lab


def measure(desk, name: str) -> dict[str, object]:
    """Open a playground, move everything, close it."""
    desk.responses.clear()
    with desk.playground(name):
        still = desk.move_everything(undo=name == "referee")
        answers = [round(seconds, 3) for seconds in desk.responses]
    return {"run_all": round(desk.ran, 3), "answers": answers, "without_answer": still}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="where to write the record")
    parser.add_argument("--only", nargs="+", choices=PLAYGROUNDS, default=PLAYGROUNDS, help="which playgrounds")
    arguments = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as folder, start_page(Path(folder)) as desk:
        print("| playground | run all, s | answers | median, s | longest, s |\n| --- | --- | --- | --- | --- |")
        for name in arguments.only:
            row = found[name] = measure(desk, name)
            answers = row["answers"]
            numbers = f"{len(answers)} | {statistics.median(answers):.2f} | {max(answers):.2f}"
            print(f"| {name} | {row['run_all']:.1f} | {numbers} |", flush=True)
        complaints = desk.complaints
    record = {
        "command": " ".join(["python", *sys.argv]),
        "date": time.strftime("%Y-%m-%d"),
        "machine": processor(),
        "playgrounds": found,
        "complaints": complaints,
    }
    if arguments.out:
        write(arguments.out, json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
