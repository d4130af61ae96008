"""Exit codes of the command line; those of signals are 128 and the signal's number, as shells have it."""

DONE, FAILED, USAGE, ENVIRONMENT = 0, 1, 2, 3
TIME = 4  # what was given by --minutes is over, and runs are open
INTERRUPTED, TERMINATED = 130, 143
