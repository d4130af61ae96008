"""A plain recurrent network that reads an image pixel by pixel: its gradient is a product of as many Jacobians."""

import torch
from torch import nn
from torch.nn.utils import skip_init


class PixelRNN(nn.Module):
    """Images [B, C, H, W] -> logits [B, classes]: tanh(W_x x_t + W_h h + b) over all H W pixels, then a linear layer.

    Args:
        channels: C.
        hidden: Width of the state.
        classes: Number of classes.
        gain: The recurrent matrix starts as ``gain`` times an orthogonal one; above 1 gradients may explode.
        generator: CPU generator of the initial weights; None uses torch's default generator.

    Source: the setting of Pascanu et al. 2013, with pixels for a sequence.
    """

    def __init__(
        self, channels: int, hidden: int, classes: int, *, gain: float = 1.0, generator: torch.Generator | None = None
    ):
        super().__init__()
        self.rnn = nn.RNN(channels, hidden, batch_first=True, device="meta").to_empty(device="cpu")
        self.head = skip_init(nn.Linear, hidden, classes)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                bound = weight.shape[1] ** -0.5
                nn.init.uniform_(weight, -bound, bound, generator=generator)
            else:
                nn.init.zeros_(weight)
            if name == "rnn.weight_hh_l0":
                nn.init.orthogonal_(weight, gain=gain, generator=generator)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [B, classes] of images [B, C, H, W], read row by row."""
        states, _ = self.rnn(images.flatten(2).transpose(1, 2))
        return self.head(states[:, -1])
