"""The reference model pi_ref: frozen, or synced with the policy now and then; and the coefficient of its KL term.

Shapes: B responses, T tokens.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from service.domain.algorithms import PolicySpec
from worker.training.experience.collect import Experience
from worker.training.models.logprobs import frozen_logprobs
from worker.training.objectives.kl import KLController
from worker.training.sequences.batching import Tokens
from worker.training.setup.job import Setup


class Reference:
    """The reference model and its KL coefficient; there is no model when beta is 0 and nobody asks for the KL."""

    def __init__(self, setup: Setup, spec: PolicySpec) -> None:
        self._setup, self._spec = setup, spec
        synced = spec.ref_sync_steps is not None
        self._policy = setup.first_policy(own_weights=synced) if spec.beta or spec.report_kl else None
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

    def update_reference(self, step: int, experience: Experience, *, adapts: bool = True) -> dict[str, float]:
        """After a step: adapt beta to the KL of its responses, if it `adapts`, and sync with the policy when due."""
        if self._policy is None:
            return {}
        sampler_BT, ref_BT, metrics = experience.sampler_BT, experience.ref_BT, {"policy/beta": self.beta}
        if ref_BT is not None:
            kl = float(((sampler_BT - ref_BT) * experience.mask_BT).sum(dim=1).mean())
            metrics["policy/kl_response"] = kl
            if adapts:
                self._controller.observe(kl, len(sampler_BT))
        if self._spec.ref_sync_steps and (step + 1) % self._spec.ref_sync_steps == 0:
            self._sync(self._policy.model)
        return metrics

    def modules(self) -> dict[str, Module]:
        """The reference's weights, if they ever change."""
        return {"reference": self._policy.model} if self._policy and self._spec.ref_sync_steps else {}

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {"beta": self._controller.beta}

    def restore(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave."""
        self._controller.beta = state["beta"]

    @torch.no_grad()
    def _sync(self, model: Module) -> None:
        """pi_ref <- alpha pi + (1 - alpha) pi_ref, weight by weight (TR-DPO, arXiv:2404.09656)."""
        reference_weights = dict(model.named_parameters())
        for name, weight in self._setup.policy.weights():
            if name in reference_weights:  # neither a buffer nor the second name of one weight
                reference_weights[name].lerp_(weight, self._spec.ref_sync_alpha)
