"""A small translator: recurrent encoder and decoder with dot-product attention."""

import torch
from torch import nn
from torch.nn.utils import skip_init

from regrad.problems.models.lstm import PAD, init_uniform_


class EncoderDecoder(nn.Module):
    """Source ids [B, S] and target ids [B, T] -> logits [B, T, target vocabulary].

    Args:
        vocabularies: Numbers of source and of target ids; 0 is padding in both.
        hidden: Width of embeddings and states.
        generator: CPU generator of the initial weights; None uses torch's default generator.

    Source: ours, after Luong et al. 2015 (global attention, dot score).
    """

    def __init__(
        self, vocabularies: tuple[int, int], hidden: int, *, generator: torch.Generator | None = None
    ):
        super().__init__()
        self.source = skip_init(nn.Embedding, vocabularies[0], hidden)
        self.target = skip_init(nn.Embedding, vocabularies[1], hidden)
        self.encoder = nn.GRU(hidden, hidden, batch_first=True, device="meta").to_empty(device="cpu")
        self.decoder = nn.GRU(hidden, hidden, batch_first=True, device="meta").to_empty(device="cpu")
        self.mix = skip_init(nn.Linear, 2 * hidden, hidden)
        self.head = skip_init(nn.Linear, hidden, vocabularies[1])
        init_uniform_(self, generator)

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Logits [B, T, V] of the word after each of ``target``, given the whole source."""
        keys, state = self.encoder(self.source(source))
        queries, _ = self.decoder(self.target(target), state)
        scores = queries @ keys.transpose(1, 2) * keys.shape[-1] ** -0.5
        scores = scores.masked_fill((source == PAD).unsqueeze(1), torch.finfo(scores.dtype).min)
        seen = scores.softmax(dim=-1) @ keys
        return self.head(torch.tanh(self.mix(torch.cat([queries, seen], dim=-1))))
