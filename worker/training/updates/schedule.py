"""The learning rate of each step: linear warm-up, then the schedule of the spec."""

import math

from service.domain.specs import OptimizerSpec


def learning_rate(peak: float, spec: OptimizerSpec, step: int, total: int) -> float:
    """The rate of a step (counted from 0): linear growth, then the schedule's fall to its floor at step `total`."""
    if step < spec.warmup_steps:
        return peak * (step + 1) / (spec.warmup_steps + 1)
    floor = spec.min_learning_rate_ratio
    return peak * (floor + (1 - floor) * _height(spec, step, total))


def _height(spec: OptimizerSpec, step: int, total: int) -> float:
    """The share of the way from floor to peak, after the warm-up."""
    falling = max(1, total - spec.warmup_steps)
    if spec.schedule == "wsd":  # warm up, stay, decay (MiniCPM, arXiv:2404.06395)
        falling = min(falling, spec.decay_steps or max(1, total // 10))
    done = max(0.0, 1 - (total - step) / falling)
    match spec.schedule:
        case "constant":
            return 1.0
        case "cosine":
            return (1 + math.cos(math.pi * done)) / 2
        case "linear" | "wsd":
            return 1 - done
