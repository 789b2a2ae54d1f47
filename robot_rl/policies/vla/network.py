"""The network of SmallVLA: a transformer over what is seen, read and felt, and a flow-matching expert for chunks.

    context  c = T([cells of each camera's grid | words | state]),   T: `layers` of pre-norm self-attention
    expert   v(x_t, t | c):  H tokens x_t W + p;  in each block  h += g₁ ⊙ SA(u₁);  h += CA(u₂, c);  h += g₃ ⊙ F(u₃)
             u_i = (1 + γ_i) ⊙ LN(h) + β_i,   (β, γ, g) = M SiLU(e(t)),   M = 0 in the beginning
    loss     E ‖v(x_t, t | c) − (a − ε)‖²,   x_t = (1 − t) ε + t a,   t ~ U(0, 1), ε ~ N(0, I)
    sample   x ← x + v(x, i/n | c)/n for i = 0 … n − 1, from x = ε, clipped to [−1, 1]

Each action token has a time of its own, so that a chunk can learn to continue actions that are given (t = 1, without
weight in the loss): training-time real-time chunking. After π₀ (Black et al., arXiv 2410.24164), which attends to its
language model's layers instead, and DiT's AdaLN-zero (Peebles and Xie, arXiv 2212.09748). A camera's cell is the frozen
encoder's features of it and the mean colour of its quarters, because deep features hardly tell colours apart. Images
and words are encoded before (`perception`, `words`), so nothing of the encoders is a parameter here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention, silu

from robot_rl.policies.vla.config import VlaConfig
from robot_rl.policies.vla.words import MOST, SIZE

FACTOR = 2  # hidden numbers of a token, for each of its width
TIME_FEATURES = 64
PERIODS = (4e-3, 4.0)
CLEAN = 1.0  # time of an action that is given


class Seen(NamedTuple):
    """Inputs of a minibatch of n observations.

    Attributes:
        cells: camera → ``(n, k, f)`` float32, its grid as k tokens.
        words: ``(n, w, SIZE)`` float32 vectors; ``read (n, w)`` bool says which of them are words.
        state: ``(n, d)`` float32.
    """

    cells: Mapping[str, Tensor]
    words: Tensor
    read: Tensor
    state: Tensor


class Context(NamedTuple):
    """Tokens ``(n, k, width)`` that actions attend to, and which of them count ``(n, k)`` bool."""

    tokens: Tensor
    counts: Tensor


class SmallVla(nn.Module):
    """The network.

    Args:
        config: its sizes.
        cells: camera → number of cells, and of each cell's features.
        state, actions: numbers of a state and of an action.
    """

    def __init__(self, config: VlaConfig, cells: Mapping[str, tuple[int, int]], state: int, actions: int) -> None:
        super().__init__()
        width = config.width
        self.config, self.cameras, self.actions = config, tuple(cells), actions
        self.register_buffer("state_mean", torch.zeros(state))
        self.register_buffer("state_scale", torch.ones(state))
        self.cells = nn.ModuleDict({name: nn.Linear(size, width) for name, (_, size) in cells.items()})
        self.places = nn.ParameterDict({name: _small(count, width) for name, (count, _) in cells.items()})
        self.words, self.order = nn.Linear(SIZE, width), _small(MOST, width)
        self.state, self.felt = nn.Linear(state, width), _small(1, width)
        layer = nn.TransformerEncoderLayer(
            width, config.heads, FACTOR * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.trunk = nn.TransformerEncoder(layer, config.layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.expert = Expert(config, actions)

    def standardise(self, states: Tensor) -> None:
        """Take the scale of ``states (n, d)``: mean 0 and standard deviation 1; it is one of the weights."""
        with torch.no_grad():
            self.get_buffer("state_mean").copy_(states.mean(0))
            self.get_buffer("state_scale").copy_(1.0 / states.std(0).clamp(min=1e-2))

    def standardised(self, states: Tensor) -> Tensor:
        """``states (n, d)`` on the scale that was taken, cut off at five standard deviations."""
        return ((states - self.get_buffer("state_mean")) * self.get_buffer("state_scale")).clamp(-5.0, 5.0)

    def context(self, seen: Seen) -> Context:
        """The context of n observations."""
        parts = [self.cells[name](seen.cells[name]) + self.places[name] for name in self.cameras]
        sighted = sum(part.shape[1] for part in parts)
        parts.append(self.words(seen.words) + self.order[: seen.words.shape[1]])
        state = self.standardised(seen.state)
        parts.append(self.state(state)[:, None] + self.felt)
        there = torch.ones(len(state), sighted + 1, dtype=torch.bool, device=state.device)
        counts = torch.cat((there[:, :sighted], seen.read, there[:, sighted:]), 1)
        tokens: Tensor = self.trunk(torch.cat(parts, 1), src_key_padding_mask=~counts)
        return Context(tokens, counts)

    def loss(self, context: Context, chunk: Tensor, weight: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """The flow-matching loss: the mean over the actions of ``chunk (n m, H, a)`` that ``weight (n m, H)`` counts.

        ``noise``, as ``chunk``, is ε; ``time (n m, H)`` is t, or ``(n m, 1)`` where all tokens have the same; m chunks
        in a row belong to one of the context's n.
        """
        error = self.expert.error(context, chunk, noise, time)
        return (weight * error).sum() / (weight.sum() * self.actions).clamp(min=1.0)

    @torch.no_grad()
    def sample(self, context: Context, noise: Tensor, given: Tensor | None = None) -> Tensor:
        """Chunks ``(n, H, a)`` in [−1, 1] that ``noise (n, H, a)`` leads to; they begin with ``given (n, d, a)``."""
        steps, x = self.config.flow_steps, noise
        time = torch.zeros(len(noise), 1 if given is None else noise.shape[1], device=noise.device)
        known = 0 if given is None else given.shape[1]
        for i in range(steps):
            time[:] = i / steps
            if given is not None:
                time[:, :known], x = CLEAN, torch.cat((given, x[:, known:]), 1)
            x = x + self.expert(context, x, time) / steps
        if given is not None:
            x = torch.cat((given, x[:, known:]), 1)
        return x.clamp(-1.0, 1.0)

    @torch.no_grad()
    def features(self, seen: Seen) -> Tensor:
        """A vector ``(n, width)`` for critics, see `mean_of`."""
        return self.mean_of(self.context(seen))

    @staticmethod
    def mean_of(context: Context) -> Tensor:
        """The mean ``(n, width)`` of a context's tokens that count."""
        tokens, counts = context
        share = counts[..., None] / counts.sum(1)[:, None, None]
        return (tokens * share).sum(1)


class Expert(nn.Module):
    """The flow of a chunk's H tokens."""

    def __init__(self, config: VlaConfig, actions: int) -> None:
        super().__init__()
        width = config.width
        self.inputs, self.order = nn.Linear(actions, width), _small(config.horizon, width)
        self.time = nn.Linear(TIME_FEATURES, width)
        self.blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.blocks))
        self.norm, self.outputs = nn.LayerNorm(width, elementwise_affine=False), nn.Linear(width, actions)
        nn.init.zeros_(self.outputs.weight)
        nn.init.zeros_(self.outputs.bias)

    def forward(self, context: Context, x: Tensor, time: Tensor) -> Tensor:
        """v ``(n m, H, a)`` of ``x``, of the same shape, at ``time (n m, H)``, or ``(n m, 1)``.

        m in a row have a context in common.
        """
        c = silu(self.time(embedding(time)))
        h = self.inputs(x) + self.order
        for block in self.blocks:
            h = block(h, c, context)
        v: Tensor = self.outputs(self.norm(h))
        return v

    def error(self, context: Context, chunk: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """‖v(x_t, t | c) − (a − ε)‖² ``(n m, H)`` of each action, see `SmallVla.loss`."""
        t = time[..., None]
        v = self(context, (1.0 - t) * noise + t * chunk, time)
        found: Tensor = ((v - (chunk - noise)) ** 2).sum(2)
        return found


class Block(nn.Module):
    """A block of the expert."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.modulation = nn.Linear(width, 8 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.own, self.own_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.query, self.other = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.other_out = nn.Linear(width, width)
        self.first, self.second = nn.Linear(width, FACTOR * width), nn.Linear(FACTOR * width, width)

    def forward(self, h: Tensor, c: Tensor, context: Context) -> Tensor:
        """``h (n m, H, width)`` for ``c (n m, H, width)`` or ``(n m, 1, width)`` of the times.

        m chunks in a row have a context in common.
        """
        shift1, scale1, gate1, shift2, scale2, shift3, scale3, gate3 = self.modulation(c).chunk(8, -1)
        query, key, value = self.own((1.0 + scale1) * self.norm(h) + shift1).chunk(3, -1)
        h = h + gate1 * self.own_out(self._attend(query, key, value, None))
        query = self.query((1.0 + scale2) * self.norm(h) + shift2).reshape(len(context.tokens), -1, h.shape[-1])
        key, value = self.other(context.tokens).chunk(2, -1)
        h = h + self.other_out(self._attend(query, key, value, context.counts[:, None, None])).reshape(h.shape)
        u = (1.0 + scale3) * self.norm(h) + shift3
        return h + gate3 * self.second(gelu(self.first(u)))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (query, key, value))
        return scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)


def embedding(time: Tensor) -> Tensor:
    """Sines, then cosines ``(…, TIME_FEATURES)`` of times ``(…)``."""
    low, high = PERIODS
    steps = torch.linspace(0.0, 1.0, TIME_FEATURES // 2, device=time.device)
    angle = 2.0 * torch.pi * time[..., None] / (low * (high / low) ** steps)
    return torch.cat((angle.sin(), angle.cos()), -1)


def _small(*shape: int) -> nn.Parameter:
    return nn.Parameter(0.02 * torch.randn(*shape))
