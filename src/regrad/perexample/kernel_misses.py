"""How often layers on a GPU went without the fused kernel, by why: counted each time, said once."""

import logging
from collections import Counter

logger = logging.getLogger(__name__)

misses: Counter[str] = Counter()


def note_miss(why: str) -> None:
    """Count a contribution that takes the slower path; the first of its reason is a warning."""
    if not misses[why]:
        logger.warning("per-example statistics on a GPU take the slower path: %s", why)
    misses[why] += 1
