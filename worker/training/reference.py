"""The reference model pi_ref: frozen, or following the policy from afar; and the coefficient of the pull toward it.

Shapes: B responses, T tokens.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from service.domain.algorithms import PolicySpec
from worker.training.batching import Tokens
from worker.training.kl import KLController
from worker.training.logprobs import frozen_logprobs
from worker.training.setup import Setup


class Reference:
    """None at all when beta is 0."""

    def __init__(self, setup: Setup, spec: PolicySpec) -> None:
        self._setup, self._spec = setup, spec
        synced = spec.ref_sync_steps is not None
        self._policy = setup.first_policy(own_weights=synced) if spec.beta else None
        self._controller = KLController(spec.beta, spec.kl_target, spec.kl_horizon)

    @property
    def beta(self) -> float:
        """The coefficient of the KL now."""
        return self._controller.beta

    def logprobs(self, sequences: list[Tokens]) -> Tensor | None:
        """log pi_ref of given responses [B, T]."""
        policy, temperature = self._policy, self._spec.temperature
        if policy is None:
            return None
        return self._setup.tokens.run(lambda budget: frozen_logprobs(policy, sequences, temperature, budget))

    def follow(self, step: int, old_BT: Tensor, ref_BT: Tensor | None, mask_BT: Tensor) -> dict[str, float]:
        """What is due after a step: adapt beta to the KL of its responses, and move toward the policy."""
        if self._policy is None or ref_BT is None:
            return {}
        kl = float(((old_BT - ref_BT) * mask_BT).sum(dim=1).mean())
        metrics = {"policy/kl_response": kl, "policy/beta": self.beta}
        self._controller.observe(kl, len(old_BT))
        if self._spec.ref_sync_steps and (step + 1) % self._spec.ref_sync_steps == 0:
            self._sync(self._policy.model)
        return metrics

    def modules(self) -> dict[str, Module]:
        """The reference's weights, if they ever change."""
        return {"reference": self._policy.model} if self._policy and self._spec.ref_sync_steps else {}

    def state(self) -> dict[str, Any]:
        """What the next step depends on."""
        return {"beta": self._controller.beta}

    def restore(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave."""
        self._controller.beta = state["beta"]

    @torch.no_grad()
    def _sync(self, model: Module) -> None:
        """pi_ref <- alpha pi + (1 - alpha) pi_ref, weight by weight (TR-DPO, arXiv:2404.09656)."""
        own = dict(model.named_parameters())
        for name, weight in self._setup.policy.weights():
            if name in own:  # neither a buffer nor the second name of one weight
                own[name].lerp_(weight, self._spec.ref_sync_alpha)
