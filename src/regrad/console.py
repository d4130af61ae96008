"""The console script ``regrad``, and ``python -m regrad``: what a plain install can do, and the laboratory where it is.

Nothing heavy is imported before the words are known; torch only by ``check``, the laboratory only inside a checkout.
"""

import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

from regrad import __version__
from regrad.exits import ENVIRONMENT, INTERRUPTED, TERMINATED

USAGE_TEXT = """\
usage: regrad [-h] [--version] {check,cite} ...

Optimizers and per-example gradient statistics of four papers, reproduced.

  regrad check               does this installation compute what it should? (seconds)
  regrad check FILE.py       are the per-example gradients of your model exact? FILE.py defines
                             model, losses and batch; each method is compared with a float64 loop
  regrad cite [PAPER ...]    BibTeX entries of the report and the papers
  regrad --version           print the version

In Python: from regrad import SGG, MicroAdam, SignSGD, DGS, ALSDGC, gradient_statistics
The reproduction itself (runs, figures, verdicts, report) is called from a checkout of the
repository: ./reproduce.sh --help
"""


def main(words: list[str] | None = None) -> int:
    """Carry out one command; return its exit code."""
    words = sys.argv[1:] if words is None else words
    if words[:1] == ["cite"]:
        from regrad.cite import cite

        return cite(words[1:])
    if words[:1] == ["check"]:
        from regrad.checking import check

        return check(words[1:])
    if words in (["--version"], ["-V"]):
        sys.stdout.write(f"regrad {__version__}\n")
        return 0
    if laboratory():
        from regrad.cli import main as reproduce

        return reproduce(words)
    if not words or words[0] in ("-h", "--help"):
        sys.stdout.write(USAGE_TEXT)
        return 0
    sys.stderr.write(
        f"regrad: {words[0]!r} is not known here; allowed: check, cite, --version, --help. All else is the "
        "reproduction's: ./reproduce.sh in a checkout of the repository\n"
    )
    return ENVIRONMENT


def laboratory() -> bool:
    """Return whether the reproduction can be called: its packages are installed, and here is a checkout."""
    here = Path.cwd()
    inside = any((p / "notebooks").is_dir() and (p / "paper").is_dir() for p in (here, *here.parents))
    return inside and find_spec("pydantic") is not None and find_spec("regrad.pipeline") is not None


def terminate(number: int, frame: FrameType | None) -> None:
    """Leave through every ``finally``, so that no child outlives this process."""
    sys.exit(TERMINATED)


def run() -> None:
    """Run the console script, and exit."""
    signal.signal(signal.SIGTERM, terminate)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.stderr.write("regrad: interrupted; finished runs are kept, the same call goes on from here\n")
        sys.exit(INTERRUPTED)
