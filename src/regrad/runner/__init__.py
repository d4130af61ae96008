"""From specs to records: build what a spec names, run it, and run only what is missing."""

import regrad.runner.registry_additions  # noqa: F401 - its names must be there wherever a run is planned or done
from regrad.runner.ensure import Bench, RunsFailedError, complete, ensure

__all__ = ["Bench", "RunsFailedError", "complete", "ensure"]
