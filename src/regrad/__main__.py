"""``python -m regrad``."""

from regrad.console import run

if __name__ == "__main__":
    run()
