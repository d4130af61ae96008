"""The batch that every problem draws."""

from typing import NamedTuple

import torch


class Batch(NamedTuple):
    """Inputs and targets of B examples, example axis first.

    Attributes:
        inputs: [B, T] token ids, or [B, C, H, W] images.
        targets: [B, T] next-token ids, or [B] class ids.
    """

    inputs: torch.Tensor
    targets: torch.Tensor
