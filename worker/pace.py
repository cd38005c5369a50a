"""The speed of a job and the time that it has left, estimated from the steps that it reports."""

import math
import time
from typing import Any

from worker.protocol import Step

SMOOTHING = 0.9


class Pace:
    """Seconds per step, smoothed; a step's own duration weighs little, so that the estimate does not jump."""

    def __init__(self) -> None:
        self._total = 1
        self._step = 0
        self._step_at = time.monotonic()
        self._seconds_per_step: float | None = None

    def start(self, total_steps: int, step: int) -> None:
        """Start the clock, once the model and the data are loaded."""
        self._total, self._step, self._step_at = total_steps, step, time.monotonic()

    @property
    def seconds_left(self) -> float:
        """Until the last step is done; infinite before the first."""
        return math.inf if self._seconds_per_step is None else (self._total - self._step) * self._seconds_per_step

    def progress(self, step: Step) -> dict[str, Any]:
        """The fields of `Progress` after a step."""
        self._measure(step.step)
        return {
            "step": step.step,
            "percent": round(100 * step.step / self._total, 2),
            "phase": "training",
            "eta_seconds": round(self.seconds_left, 1) if math.isfinite(self.seconds_left) else None,
            "tokens_per_second": step.metrics.get("train/tokens_per_second"),
        }

    def _measure(self, step: int) -> None:
        now = time.monotonic()
        if step > self._step:
            latest = (now - self._step_at) / (step - self._step)
            average = self._seconds_per_step
            self._seconds_per_step = latest if average is None else SMOOTHING * average + (1 - SMOOTHING) * latest
            self._step, self._step_at = step, now
