"""``python -m regrad``."""

import sys

from regrad.cli import main

sys.exit(main())
