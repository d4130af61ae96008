"""A Llama-style decoder-only language model, plain enough for per-example gradients.

All parameters sit in nn.Linear, nn.Embedding and nn.RMSNorm modules and nothing is done in place, so
`torch.func.vmap(grad)` and per-layer hooks both work.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import silu
from torch.nn.utils import skip_init

from regrad.problems.models.attention import rotary_attention
from regrad.problems.models.rms_norm import RMSNorm


@dataclass(frozen=True)
class DecoderConfig:
    """Shape of a decoder.

    Attributes:
        hidden: Width of the residual stream.
        intermediate: Width inside the SwiGLU feed-forward.
        heads: Attention heads; divides `hidden` into even parts.
        layers: Number of blocks.
        vocabulary: Number of token ids.
        context: Longest sequence, in tokens.
        tied: Whether the output head is the embedding matrix.
        fused: Whether to use fused attention: on a CPU a few rows of scores at a time, on long sequences and
            elsewhere torch's kernels, which keep no scores, are not deterministic on every GPU, and fall back
            to a loop under `torch.func.vmap` on a CPU.
        eps: Added to the mean square in RMSNorm.
        rotary_base: Base of the rotary frequencies.
        init_std: Standard deviation of all matrices at initialisation.
    """

    hidden: int
    intermediate: int
    heads: int
    layers: int
    vocabulary: int
    context: int = 1024
    tied: bool = False
    fused: bool = False
    eps: float = 1e-6
    rotary_base: float = 10_000.0
    init_std: float = 0.02

    def __post_init__(self):
        for field in ("hidden", "intermediate", "heads", "layers", "vocabulary", "context"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field}={getattr(self, field)!r} must be >= 1")
        if self.hidden % (2 * self.heads):
            raise ValueError(f"hidden={self.hidden!r} must be a multiple of 2 * heads = {2 * self.heads}")

    @property
    def parameters(self) -> int:
        """Number of parameters of the model."""
        block = 4 * self.hidden**2 + 3 * self.hidden * self.intermediate + 2 * self.hidden
        matrices = 1 if self.tied else 2
        return self.layers * block + self.hidden + matrices * self.vocabulary * self.hidden


# The last four are the configurations of GaLore (Zhao et al. 2024) and the papers that follow it.
CONFIGS: dict[str, DecoderConfig] = {
    "0.1M": DecoderConfig(64, 128, 4, 2, 256),
    "0.3M": DecoderConfig(96, 256, 4, 2, 256),
    "1M": DecoderConfig(128, 384, 4, 4, 256),
    "3M": DecoderConfig(192, 512, 6, 6, 256),
    "10M": DecoderConfig(320, 864, 5, 8, 256),
    "25M": DecoderConfig(512, 1376, 8, 8, 256),
    "60M": DecoderConfig(512, 1376, 8, 8, 32_000),
    "130M": DecoderConfig(768, 2048, 12, 12, 32_000),
    "350M": DecoderConfig(1024, 2736, 16, 24, 32_000),
    "1B": DecoderConfig(2048, 5461, 32, 24, 32_000),
}


def rotary_tables(config: DecoderConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines of the rotary angles, each [context, hidden / heads], float64."""
    size = config.hidden // config.heads
    frequencies = config.rotary_base ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    angles = torch.outer(torch.arange(config.context, dtype=torch.float64), frequencies)
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos(), angles.sin()


def _linear(inputs: int, outputs: int) -> nn.Linear:
    # skip_init leaves the global random state alone; Decoder fills the weights from its own generator.
    return skip_init(nn.Linear, inputs, outputs, bias=False)


class Attention(nn.Module):
    """Causal multi-head self-attention with rotary positions."""

    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.heads = config.heads
        self.fused = config.fused
        self.query = _linear(config.hidden, config.hidden)
        self.key = _linear(config.hidden, config.hidden)
        self.value = _linear(config.hidden, config.hidden)
        self.output = _linear(config.hidden, config.hidden)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """[B, T, hidden] -> [B, T, hidden]."""
        query, key, value = (
            layer(x).unflatten(-1, (self.heads, -1)) for layer in (self.query, self.key, self.value)
        )
        mixed = rotary_attention(query, key, value, angles=(cos, sin), fused=self.fused)
        return self.output(mixed.flatten(-2))


class FeedForward(nn.Module):
    """SwiGLU: down(silu(gate(x)) * up(x))."""

    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.gate = _linear(config.hidden, config.intermediate)
        self.up = _linear(config.hidden, config.intermediate)
        self.down = _linear(config.intermediate, config.hidden)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., hidden] -> [..., hidden]."""
        return self.down(silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    """Pre-normed attention and feed-forward, each with a residual connection."""

    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.attention_norm = RMSNorm(config.hidden, eps=config.eps)
        self.attention = Attention(config)
        self.feedforward_norm = RMSNorm(config.hidden, eps=config.eps)
        self.feedforward = FeedForward(config)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """[B, T, hidden] -> [B, T, hidden]."""
        x = x + self.attention(self.attention_norm(x), cos, sin)
        return x + self.feedforward(self.feedforward_norm(x))


class Decoder(nn.Module):
    """Embedding, blocks, final norm, head: token ids [B, T] -> logits [B, T, vocabulary].

    Args:
        config: Shape.
        generator: CPU generator of the initial weights; None uses torch's default generator.

    Source: Touvron et al. 2023 (architecture); Zhao et al. 2024, GaLore (sizes, initialisation).
    Departures: no key-value cache, no padding mask: sequences are packed, all of one length.
    """

    cos: torch.Tensor
    sin: torch.Tensor

    def __init__(self, config: DecoderConfig, *, generator: torch.Generator | None = None):
        super().__init__()
        self.config = config
        self.embedding = skip_init(nn.Embedding, config.vocabulary, config.hidden)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.hidden, eps=config.eps)
        self.head = _linear(config.hidden, config.vocabulary)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=config.init_std, generator=generator)
        if config.tied:
            self.head.weight = self.embedding.weight
        cos, sin = rotary_tables(config)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits of the next token at every position.

        Args:
            tokens: [B, T] integer ids, T <= context.

        Returns:
            [B, T, vocabulary].

        Raises:
            ValueError: T exceeds the context.
        """
        length = tokens.shape[-1]
        if length > self.config.context:
            raise ValueError(f"sequence of {length} tokens exceeds context={self.config.context}")
        x = self.embedding(tokens)
        cos, sin = self.cos[:length].to(x.dtype), self.sin[:length].to(x.dtype)
        for block in self.blocks:
            x = block(x, cos, sin)
        return self.head(self.norm(x))


