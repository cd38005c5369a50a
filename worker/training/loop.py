"""The one loop: it knows steps, evaluations, checkpoints and resuming, and says what happened to whoever listens.

for event in run(assignment, should_stop=lambda: None):
    print(event)
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

from service.domain.datasets import RejectionSamplingData
from service.domain.specs import JobSpec
from service.failpoints import failpoint
from worker.training import checkpoint, data, evaluate, loading, manifest, models, registry, rejection
from worker.training.checkpoint import Snapshot
from worker.training.early_stopping import EarlyStopping
from worker.training.events import (
    Assignment,
    Evaluated,
    Event,
    Failed,
    Finished,
    Phase,
    Previewed,
    Sample,
    Sampled,
    Saved,
    Started,
    Step,
    Stop,
    Stopped,
    Warned,
)
from worker.training.finite import NotFinite
from worker.training.preview import preview
from worker.training.rewards.pool import RewardPool
from worker.training.setup import Algorithm, Evaluator, Setup, State
from worker.training.tools.box import Toolbox
from worker.training.watch import Watch

ShouldStop = Callable[[], Stop | None]
"""Asked before each step: None to go on."""


def run(assignment: Assignment, should_stop: ShouldStop) -> Iterator[Event]:
    """Train from the start or from `assignment.resume_from` to the last step. Errors are raised, save for NaN."""
    spec = JobSpec.model_validate(assignment.spec)
    failpoint("trainer.read")
    yield Phase(phase="loading")
    device = models.choose_device(assignment.devices)
    with RewardPool(evaluate.rewards(spec)) as pool, Toolbox(spec.tools) as tools:
        if assignment.resume_from:
            manifest.verify(Path(assignment.resume_from))
        policy = loading.policy(assignment, spec, device)
        held_out = data.load(spec.eval_dataset, assignment.files, "eval_dataset") if spec.eval_dataset else []
        if isinstance(spec.dataset, RejectionSamplingData):
            yield Phase(phase="sampling")
            loaded, notes = rejection.sample(assignment, spec, spec.dataset, pool, device)
        else:
            loaded, notes = data.load(spec.dataset, assignment.files, "dataset"), []
        rows = data.without(loaded, held_out)
        setup = Setup(spec, policy, assignment.models, rows, pool, assignment.files, tools=tools)
        setup.warnings.extend(notes)
        if out := len(loaded) - len(rows):
            setup.warnings.append(f"{out:,} of {len(loaded):,} training rows are left out: eval_dataset asks the same")
        algorithm = registry.build(setup)
        evaluation = registry.evaluation(setup, algorithm, held_out) if held_out else None
        yield from _Loop(setup, assignment, algorithm, evaluation).events(should_stop)


class _Loop:
    def __init__(
        self, setup: Setup, assignment: Assignment, algorithm: Algorithm, evaluation: Evaluator | None
    ) -> None:
        self._setup, self._spec = setup, setup.spec
        self._algorithm, self._evaluation = algorithm, evaluation
        self._resume_from, self._directory = assignment.resume_from, Path(assignment.directory)
        self._patience = EarlyStopping(self._spec.early_stopping) if self._spec.early_stopping else None
        self._watch = Watch()
        self._metrics: dict[str, float] = {}
        """Of the current step, evaluation included; a checkpoint carries them."""
        self._ended_early = False

    def events(self, should_stop: ShouldStop) -> Iterator[Event]:
        step = self._restore() if self._resume_from else 0
        yield self._started(step)
        if not self._resume_from:
            yield Previewed(rows=preview(self._setup))
        yield from self._warnings()
        if self._resume_from:  # again: the first report may be lost
            yield Saved(step=step, directory=self._resume_from, metrics=self._metrics)
        else:
            yield from self._evaluate(0)
        stop = should_stop()
        while step < self._spec.steps and not stop and not self._ended_early:
            yield Phase(phase="training")
            step += 1
            try:
                yield from self._advance(step)
            except NotFinite as error:
                yield from self._warnings()
                yield _broken(error, step)
                return
            stop = should_stop() if step < self._spec.steps else None
            if stop != "cancel":
                yield from self._after(step, pausing=stop == "pause")
        yield Stopped(step=step) if stop and not self._ended_early else Finished()

    def _started(self, step: int) -> Started:
        policy = self._setup.policy
        return Started(
            total_steps=self._spec.steps,
            resumed_step=step,
            parameters=policy.parameters,
            device=str(policy.device),
            precision=str(policy.dtype).removeprefix("torch."),
        )

    def _advance(self, step: int) -> Iterator[Event]:
        failpoint("step.begun")
        start = perf_counter()
        advanced = self._algorithm.advance(step - 1)
        seconds = perf_counter() - start
        rate = advanced.metrics["train/tokens"] / seconds
        self._metrics = advanced.metrics | {"train/tokens_per_second": rate, "time/step": seconds}
        self._setup.warnings.extend(self._watch.look(self._metrics))
        yield Step(step=step, metrics=self._metrics)
        failpoint("step.told")
        yield from _sampled(step, advanced.samples)
        yield from self._warnings()
        for name, value in self._metrics.items():
            if not math.isfinite(value):
                raise NotFinite(name, value, None)

    def _after(self, step: int, *, pausing: bool) -> Iterator[Event]:
        """What is due after a step: evaluation first, so that the checkpoint carries its metrics."""
        last = step == self._spec.steps
        if last or _due(step, self._spec.evaluation.every):
            yield from self._evaluate(step)
        if last or pausing or self._ended_early or _due(step, self._spec.checkpoint.every):
            yield Phase(phase="saving")
            path = checkpoint.save(self._directory, self._snapshot(step))
            yield Saved(step=step, directory=str(path), metrics=self._metrics)

    def _evaluate(self, step: int) -> Iterator[Event]:
        if self._evaluation is None:
            return
        yield Phase(phase="evaluating")
        metrics, samples = self._evaluation.run()
        self._metrics = self._metrics | metrics
        yield Evaluated(step=step, metrics=metrics)
        yield from _sampled(step, samples)
        if self._patience and (ended := self._patience.observe(step, metrics)) and step < self._spec.steps:
            self._ended_early = True
            self._setup.warnings.append(ended)
        yield from self._warnings()

    def _warnings(self) -> Iterator[Event]:
        said, self._setup.warnings[:] = list(self._setup.warnings), []
        for message in said:
            yield Warned(message=message)

    def _snapshot(self, step: int) -> Snapshot:
        algorithm, setup = self._algorithm, self._setup
        state: State = {
            "algorithm": algorithm.kept.state(),
            "tokens": setup.tokens.size,
            "rollouts": setup.rollouts.size,
            "watch": self._watch.state(),
            "patience": self._patience.state() if self._patience else None,
            "ended_early": self._ended_early,
        }
        return Snapshot(step, setup.policy, algorithm.kept.learners, algorithm.kept.modules, state, self._metrics)

    def _restore(self) -> int:
        assert self._resume_from is not None
        found = checkpoint.restore(Path(self._resume_from), self._algorithm.kept.learners, self._algorithm.kept.modules)
        self._metrics, state = found.metrics, found.state
        self._algorithm.kept.restore(state["algorithm"])
        self._setup.tokens.size, self._setup.rollouts.size = state["tokens"], state["rollouts"]
        self._watch.restore(state["watch"])
        if self._patience and state["patience"]:
            self._patience.restore(state["patience"])
        self._ended_early = state["ended_early"]
        return found.step


def _broken(error: NotFinite, step: int) -> Failed:
    where = f", first in {error.layer}" if error.layer else ""
    return Failed(
        category="nan",
        message=f"{error.metric} became {error.value} in step {step}{where}",
        hint="lower optimizer.learning_rate, lengthen optimizer.warmup_steps, or set precision to fp32; "
        "the last checkpoint is whole",
    )


def _due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0


def _sampled(step: int, samples: list[Sample]) -> Iterator[Event]:
    if samples:
        yield Sampled(step=step, samples=samples)
