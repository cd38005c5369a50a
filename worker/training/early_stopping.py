"""Early stopping: the job ends before its last step once the evaluation no longer improves."""

import math
from typing import Any

from hone.errors import Invalid
from service.domain.metrics import higher_is_better
from service.domain.specs import EarlyStoppingSpec


class EarlyStopping:
    """Remembers the best value of a metric, and how many evaluations ago that was."""

    def __init__(self, spec: EarlyStoppingSpec) -> None:
        self._spec = spec
        self._sign = 1.0 if higher_is_better(spec.metric) else -1.0
        self._best: float | None = None
        self._best_step = 0
        self._evaluations_since_best = 0

    def observe(self, step: int, metrics: dict[str, float]) -> str | None:
        """Count an evaluation; the reason to stop, once as many as `patience` were no better than the best."""
        name = self._spec.metric
        if name not in metrics:
            reported = ", ".join(sorted(metrics))
            raise Invalid(
                f"early_stopping.metric is '{name}', but the evaluation gives {reported}; name one of them",
                param="early_stopping.metric",
            )
        value = -self._sign * math.inf if math.isnan(metrics[name]) else metrics[name]
        if self._best is None or self._sign * (value - self._best) > self._spec.min_delta:
            self._best, self._best_step, self._evaluations_since_best = value, step, 0
            return None
        self._evaluations_since_best += 1
        if self._evaluations_since_best < self._spec.patience:
            return None
        return (
            f"ended early after step {step}: {name} was best, {self._best:.4g}, at step {self._best_step}, "
            f"and no better in the {self._evaluations_since_best} evaluations since"
        )

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {"best": self._best, "best_step": self._best_step, "waited": self._evaluations_since_best}

    def restore(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave."""
        self._best, self._best_step, self._evaluations_since_best = state["best"], state["best_step"], state["waited"]
