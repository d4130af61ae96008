"""Which published set of records stands in for the run store: ``results/reference/<set>``, named by a variable."""

import os

VARIABLE = "REGRAD_REFERENCE"  # set by --from-reference; notebooks run in processes of their own


def chosen() -> str:
    """Return the name of the set, such as ``small-cpu``; empty where the run store itself is used."""
    return os.environ.get(VARIABLE, "")
