"""The one loop: it knows steps, evaluations, checkpoints and resuming, and says what happened to whoever listens.

for event in run(assignment, should_stop=lambda: False):
    print(event)
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

from service.domain.specs import JobSpec
from worker.training import checkpoint, data, evaluate, models, registry
from worker.training.evaluate import Evaluation
from worker.training.events import (
    Assignment,
    Evaluated,
    Event,
    Failed,
    Finished,
    Phase,
    Sample,
    Sampled,
    Saved,
    Started,
    Step,
    Stopped,
    Warned,
)
from worker.training.models import Policy
from worker.training.rewards.pool import RewardPool
from worker.training.setup import Algorithm, Setup

ShouldStop = Callable[[], bool]


def run(assignment: Assignment, should_stop: ShouldStop) -> Iterator[Event]:
    """Train from the start or from `assignment.resume_from` to the last step. Errors are raised, save for NaN."""
    spec = JobSpec.model_validate(assignment.spec)
    yield Phase(phase="loading")
    device = models.choose_device(assignment.devices)
    with RewardPool(evaluate.rewards(spec)) as pool:
        if assignment.resume_from:
            checkpoint.verify(Path(assignment.resume_from))
        policy = models.load(assignment.resume_from or assignment.model_path, spec.seed, device, spec.precision)
        held_out = data.load(spec.eval_dataset, assignment.files, "eval_dataset") if spec.eval_dataset else []
        loaded = data.load(spec.dataset, assignment.files, "dataset")
        rows = data.without(loaded, held_out)
        if out := len(loaded) - len(rows):
            yield Warned(message=f"{out:,} of {len(loaded):,} training rows are left out: eval_dataset asks the same")
        algorithm = registry.build(Setup(spec, policy, assignment.model_path, rows, pool))
        evaluation = Evaluation(spec, policy, held_out, pool) if held_out else None
        yield from _Loop(spec, assignment, policy, algorithm, evaluation).events(should_stop)


class _Loop:
    def __init__(
        self,
        spec: JobSpec,
        assignment: Assignment,
        policy: Policy,
        algorithm: Algorithm,
        evaluation: Evaluation | None,
    ) -> None:
        self._spec, self._policy, self._algorithm, self._evaluation = spec, policy, algorithm, evaluation
        self._resume_from, self._directory = assignment.resume_from, Path(assignment.directory)
        self._metrics: dict[str, float] = {}
        """Of the current step, evaluation included; a checkpoint carries them."""

    def events(self, should_stop: ShouldStop) -> Iterator[Event]:
        step = 0
        if self._resume_from:
            step, self._metrics = checkpoint.restore(Path(self._resume_from), self._algorithm.learners)
        yield self._started(step)
        if self._resume_from:  # again: the first report may be lost
            yield Saved(step=step, directory=self._resume_from, metrics=self._metrics)
        else:
            yield from self._evaluate(0)
        stop = should_stop()
        while step < self._spec.steps and not stop:
            yield Phase(phase="training")
            step += 1
            yield from self._advance(step)
            if broken := self._broken(step):
                yield broken
                return
            stop = step < self._spec.steps and should_stop()
            if not stop:
                yield from self._after(step)
        yield Stopped(step=step) if stop else Finished()

    def _started(self, step: int) -> Started:
        return Started(
            total_steps=self._spec.steps,
            resumed_step=step,
            parameters=self._policy.parameters,
            device=str(self._policy.device),
            precision=str(self._policy.dtype).removeprefix("torch."),
        )

    def _advance(self, step: int) -> Iterator[Event]:
        start = perf_counter()
        advanced = self._algorithm.advance(step - 1)
        seconds = perf_counter() - start
        rate = advanced.metrics["train/tokens"] / seconds
        self._metrics = advanced.metrics | {"train/tokens_per_second": rate, "time/step": seconds}
        yield Step(step=step, metrics=self._metrics)
        yield from _sampled(step, advanced.samples)

    def _broken(self, step: int) -> Failed | None:
        """The first metric that is no number: rewards come before losses, losses before gradients."""
        name = next((name for name, value in self._metrics.items() if not math.isfinite(value)), None)
        if name is None:
            return None
        return Failed(
            category="nan",
            message=f"{name} became {self._metrics[name]} in step {step}",
            hint="lower optimizer.learning_rate, lengthen optimizer.warmup_steps, or set precision to fp32; "
            "the last checkpoint is whole",
        )

    def _after(self, step: int) -> Iterator[Event]:
        """What is due after a step: evaluation first, so that the checkpoint carries its metrics."""
        last = step == self._spec.steps
        if last or _due(step, self._spec.evaluation.every):
            yield from self._evaluate(step)
        if last or _due(step, self._spec.checkpoint.every):
            yield Phase(phase="saving")
            path = checkpoint.save(self._directory, step, self._policy, self._algorithm.learners, self._metrics)
            yield Saved(step=step, directory=str(path), metrics=self._metrics)

    def _evaluate(self, step: int) -> Iterator[Event]:
        if self._evaluation is None:
            return
        yield Phase(phase="evaluating")
        metrics, samples = self._evaluation.run()
        self._metrics = self._metrics | metrics
        yield Evaluated(step=step, metrics=metrics)
        yield from _sampled(step, samples)


def _due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0


def _sampled(step: int, samples: list[Sample]) -> Iterator[Event]:
    if samples:
        yield Sampled(step=step, samples=samples)
