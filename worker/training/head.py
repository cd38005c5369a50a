"""The last layer of a language model, on chosen positions only: V logits for one tile of tokens at a time, never all.

    log p_n = z_n[y_n] - logsumexp(z_n),     z_n = (W h_n + b) / temperature

Backward computes each tile's logits again: dz = (onehot(y) - softmax(z)) * g. Sums over tiles are kept in fp32 at
least, since rounding each tile's share to bf16 biases the gradient.
Shapes: N tokens, H hidden units, V words.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

TILE_ELEMENTS = 2**24  # logits held at once: 64 MiB in fp32


class Head(NamedTuple):
    """The output projection of a model, and the precision in which it is applied."""

    weight_VH: Tensor
    bias_V: Tensor | None
    dtype: torch.dtype

    def frozen(self) -> "Head":
        """The same for sampling: no gradient, weights cast once instead of for every token."""
        return Head(self.weight_VH.detach().to(self.dtype), self.bias_V, self.dtype)

    def logits(self, hidden_NH: Tensor) -> Tensor:
        """All logits of a few positions, in fp32 at least [N, V]."""
        logits_NV = _wide(hidden_NH.to(self.dtype) @ self.weight_VH.to(self.dtype).T)
        return logits_NV if self.bias_V is None else logits_NV + self.bias_V

    def logprobs(self, hidden_NH: Tensor, target_N: Tensor, temperature: float = 1.0) -> Tensor:
        """log p of the targets under the distribution at `temperature` [N], differentiable."""
        inputs = (hidden_NH, self.weight_VH, self.bias_V, target_N, temperature, self.dtype)
        return _TiledLogProbs.apply(*inputs)  # type: ignore[no-untyped-call, no-any-return]


class _TiledLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: Tensor,
        weight_VH: Tensor,
        bias_V: Tensor | None,
        target_N: Tensor,
        temperature: float,
        dtype: torch.dtype,
    ) -> Tensor:
        head = Head(weight_VH.to(dtype), bias_V, dtype)
        logsumexp, chosen = [], []
        for tile in _tiles(len(target_N), len(weight_VH)):
            logits_NV = head.logits(hidden_NH[tile]).div_(temperature)
            chosen.append(logits_NV.gather(1, target_N[tile, None])[:, 0])
            logsumexp.append(logits_NV.logsumexp(dim=1))
        logsumexp_N = torch.cat(logsumexp) if logsumexp else hidden_NH.new_zeros(0)
        ctx.save_for_backward(hidden_NH, weight_VH, bias_V, target_N, logsumexp_N)
        ctx.temperature, ctx.dtype = temperature, dtype
        return torch.cat(chosen) - logsumexp_N if chosen else logsumexp_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_N: Tensor) -> tuple[Tensor | None, ...]:
        hidden_NH, weight_VH, bias_V, target_N, logsumexp_N = ctx.saved_tensors
        head = Head(weight_VH.to(ctx.dtype), bias_V, ctx.dtype)
        d_hidden_NH = torch.empty_like(hidden_NH)
        d_weight_VH = torch.zeros_like(weight_VH) if ctx.needs_input_grad[1] else None
        d_bias_V = torch.zeros_like(bias_V) if bias_V is not None and ctx.needs_input_grad[2] else None
        for tile in _tiles(len(target_N), len(weight_VH)):
            share_N1 = (grad_N[tile] / ctx.temperature)[:, None]
            logits_NV = head.logits(hidden_NH[tile]).div_(ctx.temperature)
            d_logits_NV = logits_NV.sub_(logsumexp_N[tile, None]).exp_().mul_(-share_N1)
            d_logits_NV.scatter_add_(1, target_N[tile, None], share_N1)
            if d_bias_V is not None:
                d_bias_V += d_logits_NV.sum(0)
            d_logits_NV = d_logits_NV.to(ctx.dtype)
            d_hidden_NH[tile] = d_logits_NV @ head.weight_VH
            if d_weight_VH is not None:
                d_weight_VH += d_logits_NV.T @ hidden_NH[tile].to(ctx.dtype)
        return d_hidden_NH, d_weight_VH, d_bias_V, None, None, None


def _tiles(tokens: int, words: int) -> Iterator[slice]:
    size = max(1, TILE_ELEMENTS // words)
    return (slice(start, start + size) for start in range(0, tokens, size))


def _wide(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor
