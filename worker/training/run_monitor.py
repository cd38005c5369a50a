"""Health notes about runs that go wrong: responses cut off, groups that agree, a loss that explodes, a flat reward."""

import math
from collections import deque
from collections.abc import Iterator
from statistics import fmean, variance
from typing import Any, NamedTuple

from service.domain.algorithms import PolicySpec
from service.domain.health_notes import Note, NoteCode
from service.domain.specs import JobSpec

STEPS = 5
"""A share is high, and a mean is taken, over so many steps in a row."""
WINDOW = 20
"""Steps of which the mean reward is compared with that of as many others."""
SOLVED = 0.9
"""The accuracy above which a run that stands still has nothing left to learn."""


class Limit(NamedTuple):
    """A metric, the bound beyond which it is bad, what that means, and what to do about it."""

    code: NoteCode
    metric: str
    above: float
    problem: str
    remedy: str


LIMITS = (
    Limit(
        "responses_cut",
        "policy/truncated",
        0.5,
        "more than 50% of the responses are cut off",
        "raise algorithm.max_completion_length",
    ),
    Limit(
        "zero_variance",
        "policy/zero_variance",
        0.8,
        "more than 80% of the prompts have responses that all earned the same reward and give no gradient",
        "use easier or harder prompts, a finer reward, more num_generations, or zero_variance: resample",
    ),
    Limit(
        "kl_high",
        "policy/kl",
        1.0,
        "the policy has moved more than 1 nat per token from the reference model",
        "raise algorithm.beta, or lower optimizer.learning_rate",
    ),
    Limit(
        "kl_high",
        "policy/kl_old",
        0.5,
        "the updates of one step move the policy by more than 0.5 nats per token",
        "lower optimizer.learning_rate, num_iterations or minibatches",
    ),
)
ALWAYS_RIGHT = "nearly all responses are right: use harder prompts, or end the job"
ALWAYS_WRONG = (
    "nearly no response is right: use easier prompts or a policy that was trained on such answers, and look at the "
    "samples: does the reward read them as you mean it?"
)


class RunMonitor:
    """Gives a note at each step at which something is wrong, in the same words as long as it lasts."""

    def __init__(self, spec: JobSpec) -> None:
        self._learns_a_loss = not isinstance(spec.algorithm, PolicySpec)
        self._kl_target = None if self._learns_a_loss else getattr(spec.algorithm, "kl_target", None)
        self._high: dict[str, int] = {}
        """For how many steps in a row each metric has been beyond its bound."""
        self._loss, self._reward = _Trend(STEPS), _Trend(WINDOW)
        self._best_eval_loss = math.inf

    def observe(self, metrics: dict[str, float]) -> list[Note]:
        """Count a step; what is wrong at it."""
        notes = [note for limit in LIMITS if (note := self._limit(limit, metrics))]
        notes += [note for note in (self._entropy(metrics), self._kl_band(metrics)) if note]
        if self._learns_a_loss and "train/loss" in metrics:
            self._loss.add(metrics["train/loss"])
            notes += _loss_rose(self._loss)
        if "policy/reward" in metrics and "train/loss" in metrics:  # not while a critic alone is trained
            self._reward.add(metrics["policy/reward"])
            notes += _reward_stands(self._reward, metrics.get("policy/accuracy", 0.0))
        return notes

    def observe_evaluation(self, metrics: dict[str, float]) -> list[Note]:
        """Count an evaluation; what is wrong at it."""
        loss = metrics.get("eval/loss")
        if loss is None:
            return []
        self._best_eval_loss = min(self._best_eval_loss, loss)
        if self._counted("eval/loss", loss > 1.02 * self._best_eval_loss) < 2:
            return []
        message = "eval/loss: at two evaluations in a row, the loss on held-out rows is above its best by more than 2%"
        remedy = (
            "train for fewer steps, set early_stopping, keep the best checkpoint (keep_best: eval/loss), or add rows"
        )
        return [Note("eval_loss_rises", message, remedy, "eval/loss")]

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        trends = {"loss": self._loss.state(), "reward": self._reward.state()}
        return {"high": dict(self._high), "best_eval_loss": self._best_eval_loss, **trends}

    def restore(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave; earlier versions stored the counts alone."""
        self._high = dict(state.get("high", state))
        self._best_eval_loss = state.get("best_eval_loss", math.inf)
        for trend, name in ((self._loss, "loss"), (self._reward, "reward")):
            if name in state:
                trend.restore(state[name])

    def _counted(self, name: str, holds: bool) -> int:  # noqa: FBT001 - a condition, always given by its expression
        self._high[name] = self._high.get(name, 0) + 1 if holds else 0
        return self._high[name]

    def _limit(self, limit: Limit, metrics: dict[str, float]) -> Note | None:
        value = metrics.get(limit.metric)
        if value is None or self._counted(limit.metric, value > limit.above) < STEPS:
            return None
        message = f"{limit.metric}: for {STEPS} steps, {limit.problem}"
        return Note(limit.code, message, _remedy(limit, metrics.get("policy/accuracy")), limit.metric)

    def _entropy(self, metrics: dict[str, float]) -> Note | None:
        """A policy that is right may be sure; one that is wrong and sure finds nothing better."""
        entropy, accuracy = metrics.get("policy/entropy"), metrics.get("policy/accuracy", 1.0)
        if entropy is None or self._counted("policy/entropy", entropy < 0.01 and accuracy < SOLVED) < STEPS:
            return None
        message = f"policy/entropy: for {STEPS} steps it is below 0.01 nats per token, so all responses are alike"
        remedy = (
            "raise algorithm.temperature or entropy_coef, lower optimizer.learning_rate, or go back to a checkpoint"
        )
        return Note("entropy_low", message, remedy, "policy/entropy")

    def _kl_band(self, metrics: dict[str, float]) -> Note | None:
        """`kl_target` steers the KL; that takes steps, but not for ever."""
        kl, target = metrics.get("policy/kl_response"), self._kl_target
        if kl is None or target is None or self._counted("policy/kl_response", kl > 3 * target) < 2 * STEPS:
            return None
        message = f"policy/kl_response: for {2 * STEPS} steps it is above three times algorithm.kl_target ({target:g})"
        remedy = "raise algorithm.beta, lower algorithm.kl_horizon, or lower optimizer.learning_rate"
        return Note("kl_high", message, remedy, "policy/kl_response")


class _Trend:
    """The first values of a metric, and the last ones."""

    def __init__(self, window: int) -> None:
        self.first: list[float] = []
        self.last: deque[float] = deque(maxlen=window)
        self.count, self.lowest_mean = 0, math.inf
        self._window = window

    def add(self, value: float) -> None:
        if len(self.first) < self._window:
            self.first.append(value)
        self.last.append(value)
        self.count += 1
        if len(self.last) == self._window:
            self.lowest_mean = min(self.lowest_mean, fmean(self.last))

    def difference(self) -> tuple[float, float]:
        """The mean of the last values minus that of the first ones, and the standard error of this difference."""
        error = math.sqrt((variance(self.first) + variance(self.last)) / self._window)
        return fmean(self.last) - fmean(self.first), error

    def state(self) -> dict[str, Any]:
        return {"first": self.first.copy(), "last": list(self.last), "count": self.count, "lowest": self.lowest_mean}

    def restore(self, state: dict[str, Any]) -> None:
        self.first, self.count, self.lowest_mean = list(state["first"]), state["count"], state["lowest"]
        self.last = deque(state["last"], maxlen=self._window)


def _remedy(limit: Limit, accuracy: float | None) -> str:
    if limit.code != "zero_variance" or accuracy is None or 1 - SOLVED < accuracy < SOLVED:
        return limit.remedy
    return ALWAYS_RIGHT if accuracy >= SOLVED else ALWAYS_WRONG


def _loss_rose(loss: _Trend) -> Iterator[Note]:
    """A mean over a few steps, far above the first one or the lowest one; half a nat and one nat are beyond noise."""
    if loss.count < 2 * STEPS:
        return
    mean = fmean(loss.last)
    if mean > 1.25 * fmean(loss.first) + 0.5 or mean > 2 * loss.lowest_mean + 1:
        message = f"train/loss: its mean over {STEPS} steps is far above that of the first or of the best steps"
        remedy = "lower optimizer.learning_rate, lengthen optimizer.warmup_steps, or go back to an earlier checkpoint"
        yield Note("loss_rose", message, remedy, "train/loss")


def _reward_stands(reward: _Trend, accuracy: float) -> Iterator[Note]:
    """Means of WINDOW steps differ by less than their standard error, or the later one is three of them lower."""
    if reward.count < 2 * WINDOW or accuracy >= SOLVED:
        return
    difference, error = reward.difference()
    if difference < -3 * error and difference < 0:
        message = f"policy/reward: its mean over {WINDOW} steps is below that of the first {WINDOW} steps"
        remedy = "lower optimizer.learning_rate, raise algorithm.beta, or go back to an earlier checkpoint"
        yield Note("reward_fell", message, remedy, "policy/reward")
    elif reward.count >= 3 * WINDOW and difference <= error:
        message = f"policy/reward: its mean over {WINDOW} steps is no higher than that of the first {WINDOW} steps"
        remedy = "use easier prompts or a finer reward, more num_generations, or another optimizer.learning_rate"
        yield Note("reward_flat", message, remedy, "policy/reward")
