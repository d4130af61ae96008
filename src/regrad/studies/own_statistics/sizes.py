"""Sizes of the user's guide. A demonstration: the larger presets show what small shows."""

from typing import NamedTuple


class Sizes(NamedTuple):
    """What a preset sets."""

    sequence_length: int  # bytes of news in a sequence
    evaluation_sequences: int
    batch_size: int  # B, sequences
    steps: int
    evaluations: int


SMALL = Sizes(sequence_length=64, evaluation_sequences=128, batch_size=16, steps=128, evaluations=8)
PRESETS = {
    "smoke": Sizes(sequence_length=16, evaluation_sequences=16, batch_size=8, steps=8, evaluations=4),
    "small": SMALL,
    "medium": SMALL,
    "full": SMALL,
    "paper": SMALL,
}
