"""Classifiers of short texts: an LSTM, and a decoder whose last logits are read as classes."""

import torch
from torch import nn
from torch.nn.utils import skip_init

from regrad.problems.models.decoder import Decoder

PAD = 0


def init_uniform_(module: nn.Module, generator: torch.Generator | None) -> None:
    """Fill matrices uniformly by their number of columns and vectors with zeros, embeddings with N(0, 1)."""
    for part in module.modules():
        for weight in part.parameters(recurse=False):
            if isinstance(part, nn.Embedding):
                nn.init.normal_(weight, generator=generator)
            elif weight.dim() == 2:
                bound = weight.shape[1] ** -0.5
                nn.init.uniform_(weight, -bound, bound, generator=generator)
            else:
                nn.init.zeros_(weight)


class LSTMClassifier(nn.Module):
    """Word ids [B, T], padded with 0 -> logits [B, classes]: the LSTM's mean output over words, then linear.

    Args:
        vocabulary: Number of ids.
        hidden: Width of embedding and state.
        classes: Number of classes.
        generator: CPU generator of the initial weights; None uses torch's default generator.
    """

    def __init__(
        self, vocabulary: int, hidden: int, classes: int, *, generator: torch.Generator | None = None
    ):
        super().__init__()
        self.embedding = skip_init(nn.Embedding, vocabulary, hidden)
        self.lstm = nn.LSTM(hidden, hidden, batch_first=True, device="meta").to_empty(device="cpu")
        self.head = skip_init(nn.Linear, hidden, classes)
        init_uniform_(self, generator)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits [B, classes] of ids [B, T]."""
        outputs, _ = self.lstm(self.embedding(ids))
        words = (ids != PAD).to(outputs.dtype).unsqueeze(-1)
        return self.head((outputs * words).sum(dim=1) / words.sum(dim=1).clamp(min=1.0))


class DecoderClassifier(nn.Module):
    """Word ids [B, T] -> logits [B, classes]: a decoder's first ``classes`` logits at the last place.

    Args:
        decoder: The decoder; its vocabulary is at least ``classes``.
        classes: Number of classes.
    """

    def __init__(self, decoder: Decoder, classes: int):
        super().__init__()
        self.decoder, self.classes = decoder, classes

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits [B, classes] of ids [B, T]."""
        return self.decoder(ids)[:, -1, : self.classes]
