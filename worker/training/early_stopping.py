"""An end before the last step, once the evaluation has stopped getting better."""

import math
from typing import Any

from service.domain.errors import Invalid
from service.domain.metrics import higher_is_better
from service.domain.specs import EarlyStoppingSpec


class EarlyStopping:
    """Remembers the best value of a metric, and how many evaluations ago that was."""

    def __init__(self, spec: EarlyStoppingSpec) -> None:
        self._spec = spec
        self._sign = 1.0 if higher_is_better(spec.metric) else -1.0
        self._best: float | None = None
        self._best_step = 0
        self._waited = 0

    def observe(self, step: int, metrics: dict[str, float]) -> str | None:
        """Take in an evaluation; once patience is at an end, a sentence that says so."""
        name = self._spec.metric
        if name not in metrics:
            there = ", ".join(sorted(metrics))
            raise Invalid(
                f"early_stopping.metric is '{name}', but the evaluation gives {there}; name one of them",
                param="early_stopping.metric",
            )
        value = -self._sign * math.inf if math.isnan(metrics[name]) else metrics[name]
        if self._best is None or self._sign * (value - self._best) > self._spec.min_delta:
            self._best, self._best_step, self._waited = value, step, 0
            return None
        self._waited += 1
        if self._waited < self._spec.patience:
            return None
        return (
            f"ended early after step {step}: {name} was best, {self._best:.4g}, at step {self._best_step}, "
            f"and no better in the {self._waited} evaluations since"
        )

    def state(self) -> dict[str, Any]:
        """What the next evaluation depends on."""
        return {"best": self._best, "best_step": self._best_step, "waited": self._waited}

    def restore(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave."""
        self._best, self._best_step, self._waited = state["best"], state["best_step"], state["waited"]
