"""The last layer of a language model, on chosen positions only: V logits for one tile of tokens at a time, never all.

    log p_n = z_n[y_n] - logsumexp(z_n),     z_n = f(scale (W h_n + b)) / temperature
    H_n     = - sum_v p_nv log p_nv

f(x) = cap tanh(x / cap) for models that cap their logits (Gemma 2, arXiv:2408.00118), else f(x) = x.
Backward computes each tile's logits again: dz = g (onehot(y) - p) - g_H p (log p + H). Sums over tiles are kept in
fp32 at least, since rounding each tile's share to bf16 biases the gradient.
Shapes: N tokens, H hidden units, V words.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

TILE_ELEMENTS = 2**24  # logits held at once: 64 MiB in fp32


class Transform(NamedTuple):
    """What a model does to the logits of its projection: z = f(scale x)."""

    scale: float = 1.0
    cap: float | None = None

    def __call__(self, raw_NV: Tensor) -> Tensor:
        """The logits, given those of the projection."""
        scaled_NV = raw_NV if self.scale == 1 else raw_NV * self.scale
        return scaled_NV if self.cap is None else (scaled_NV / self.cap).tanh() * self.cap

    def chain(self, grad_NV: Tensor, logits_NV: Tensor) -> Tensor:
        """From dL/dz to dL/dx, given z."""
        if self.cap is not None:
            grad_NV = grad_NV * (1 - (logits_NV / self.cap).square())
        return grad_NV if self.scale == 1 else grad_NV * self.scale


PLAIN = Transform()


class Head(NamedTuple):
    """The output projection of a model, its compute precision, and the transform of its logits."""

    weight_VH: Tensor
    bias_V: Tensor | None
    dtype: torch.dtype
    transform: Transform = PLAIN

    def frozen(self) -> "Head":
        """The same for sampling: no gradient, weights cast once instead of for every token."""
        return self._replace(weight_VH=self.weight_VH.detach().to(self.dtype))

    def logits(self, hidden_NH: Tensor) -> Tensor:
        """All logits of a few positions, in fp32 at least [N, V]."""
        return self.finish(hidden_NH.to(self.dtype) @ self.weight_VH.to(self.dtype).T)

    def finish(self, product_NV: Tensor) -> Tensor:
        """The logits, given the bare products W h [N, V]."""
        logits_NV = _wide(product_NV)
        return self.transform(logits_NV if self.bias_V is None else logits_NV + self.bias_V)

    def logprobs(self, hidden_NH: Tensor, target_N: Tensor, temperature: float = 1.0) -> Tensor:
        """log p of the targets under the distribution at `temperature` [N], differentiable."""
        return self._apply(hidden_NH, target_N, temperature, entropy=False)[0]

    def logprobs_and_entropy(
        self, hidden_NH: Tensor, target_N: Tensor, temperature: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """The same, and the entropy of each distribution [N], both differentiable."""
        return self._apply(hidden_NH, target_N, temperature, entropy=True)

    def _apply(
        self, hidden_NH: Tensor, target_N: Tensor, temperature: float, *, entropy: bool
    ) -> tuple[Tensor, Tensor]:
        inputs = (hidden_NH, self.weight_VH, self.bias_V, target_N, temperature, entropy, self.dtype, self.transform)
        return _TiledLogProbs.apply(*inputs)  # type: ignore[no-untyped-call, no-any-return]


class _TiledLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0913 - autograd hands everything over by position
        ctx: Any,
        hidden_NH: Tensor,
        weight_VH: Tensor,
        bias_V: Tensor | None,
        target_N: Tensor,
        temperature: float,
        entropy: bool,  # noqa: FBT001
        dtype: torch.dtype,
        transform: Transform,
    ) -> tuple[Tensor, Tensor]:
        head = Head(weight_VH, bias_V, dtype, transform).frozen()
        wide = _wide(hidden_NH[:0])
        logp_N, logsumexp_N, entropy_N = (wide.new_zeros(len(target_N)) for _ in range(3))
        for tile in _tiles(len(target_N), len(weight_VH)):
            logits_NV = head.logits(hidden_NH[tile]).div_(temperature)
            logsumexp_N[tile] = logits_NV.logsumexp(dim=1)
            logp_N[tile] = logits_NV.gather(1, target_N[tile, None])[:, 0] - logsumexp_N[tile]
            if entropy:
                all_logp_NV = logits_NV.sub_(logsumexp_N[tile, None])
                entropy_N[tile] = -(all_logp_NV.exp() * all_logp_NV).sum(dim=1)
        ctx.save_for_backward(hidden_NH, weight_VH, bias_V, target_N, logsumexp_N, entropy_N)
        ctx.temperature, ctx.entropy, ctx.dtype, ctx.transform = temperature, entropy, dtype, transform
        ctx.set_materialize_grads(False)
        return logp_N, entropy_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_N: Tensor | None, grad_entropy_N: Tensor | None) -> tuple[Tensor | None, ...]:
        hidden_NH, weight_VH, bias_V, target_N, logsumexp_N, entropy_N = ctx.saved_tensors
        grad_N = torch.zeros_like(logsumexp_N) if grad_N is None else grad_N
        head = Head(weight_VH, bias_V, ctx.dtype, ctx.transform).frozen()
        d_hidden_NH = torch.empty_like(hidden_NH)
        d_weight_VH = torch.zeros_like(weight_VH) if ctx.needs_input_grad[1] else None
        d_bias_V = torch.zeros_like(bias_V) if bias_V is not None and ctx.needs_input_grad[2] else None
        for tile in _tiles(len(target_N), len(weight_VH)):
            share_N1 = (grad_N[tile] / ctx.temperature)[:, None]
            logits_NV = head.logits(hidden_NH[tile])
            logp_NV = (logits_NV / ctx.temperature).sub_(logsumexp_N[tile, None])
            if ctx.entropy and grad_entropy_N is not None:
                slope_N1 = (grad_entropy_N[tile] / ctx.temperature)[:, None]
                factor_NV = (logp_NV + entropy_N[tile, None]).mul_(slope_N1).add_(share_N1)
                d_logits_NV = logp_NV.exp_().mul_(factor_NV).neg_()
            else:
                d_logits_NV = logp_NV.exp_().mul_(-share_N1)
            d_logits_NV.scatter_add_(1, target_N[tile, None], share_N1)
            d_raw_NV = ctx.transform.chain(d_logits_NV, logits_NV)
            if d_bias_V is not None:
                d_bias_V += d_raw_NV.sum(0)
            d_raw_NV = d_raw_NV.to(ctx.dtype)
            d_hidden_NH[tile] = d_raw_NV @ head.weight_VH
            if d_weight_VH is not None:
                d_weight_VH += d_raw_NV.T @ hidden_NH[tile].to(ctx.dtype)
        return d_hidden_NH, d_weight_VH, d_bias_V, None, None, None, None, None


def _tiles(tokens: int, vocabulary: int) -> Iterator[slice]:
    size = max(1, TILE_ELEMENTS // vocabulary)
    return (slice(start, start + size) for start in range(0, tokens, size))


def _wide(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor
