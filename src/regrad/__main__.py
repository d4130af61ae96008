"""``python -m regrad``."""

import signal
import sys
from types import FrameType

from regrad.cli import main
from regrad.exits import INTERRUPTED, TERMINATED


def terminate(number: int, frame: FrameType | None) -> None:
    """Leave through every ``finally``, so that no child outlives this process."""
    sys.exit(TERMINATED)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, terminate)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.stderr.write("regrad: interrupted; finished runs are kept, the same call goes on from here\n")
        sys.exit(INTERRUPTED)
