"""From specs to records: build what a spec names, run it, and run only what is missing."""

from regrad.runner.ensure import Bench, RunsFailedError, complete, ensure

__all__ = ["Bench", "RunsFailedError", "complete", "ensure"]
