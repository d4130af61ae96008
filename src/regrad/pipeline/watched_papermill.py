"""papermill that ends with the process that started it, also when that was killed by ``kill -9``."""

from papermill.cli import papermill

from regrad.executors.local import watch_parent

if __name__ == "__main__":
    watch_parent()
    papermill()
