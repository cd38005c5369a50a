"""The training loop: steps, evaluations, checkpoints, resuming. It yields events, and does not know who reads them.

for event in run(assignment, should_stop=lambda: None):
    print(event)
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

from service.domain import outlook
from service.domain.datasets import RejectionSamplingData
from service.domain.health_notes import Note
from service.domain.stored import StoredSpec
from service.failpoints import failpoint
from service.storage import manifest
from worker.protocol import (
    Assignment,
    Evaluated,
    Event,
    Failed,
    Finished,
    Phase,
    Previewed,
    Sampled,
    SampledResponse,
    Saved,
    Started,
    Step,
    Stop,
    Stopped,
    Warned,
)
from worker.training import spec_notes
from worker.training.algorithm import Algorithm, Evaluator, State, build
from worker.training.checkpoints import checkpoint, export
from worker.training.checkpoints.checkpoint import Snapshot
from worker.training.data.rows import load_rows, without_held_out
from worker.training.early_stopping import EarlyStopping
from worker.training.experience import evaluate, rejection
from worker.training.models.policy import choose_device
from worker.training.preview import preview
from worker.training.rewards import gold_answers
from worker.training.rewards.pool import RewardPool
from worker.training.run_monitor import RunMonitor
from worker.training.setup import loading
from worker.training.setup.job import Setup
from worker.training.tools.toolbox import Toolbox
from worker.training.updates.finite import NotFinite

ShouldStop = Callable[[], Stop | None]
"""Called before each step; None: continue."""


def run(assignment: Assignment, should_stop: ShouldStop) -> Iterator[Event]:
    """Train from the start or from `assignment.resume_from` to the last step. NaN gives `Failed`; errors are raised."""
    spec = StoredSpec(assignment.spec, assignment.spec_version).spec
    failpoint("trainer.read")
    yield Phase(phase="loading")
    device = choose_device(assignment.devices)
    with RewardPool(evaluate.rewards(spec)) as pool, Toolbox(spec.tools) as tools:
        if assignment.resume_from:
            manifest.verify(Path(assignment.resume_from))
        policy = loading.trained_policy(assignment, spec, device)
        reports = [loading.report(policy, "policy", spec.model)]
        notes: list[Note] = []
        held_out = load_rows(spec.eval_dataset, assignment.files, "eval_dataset", notes) if spec.eval_dataset else []
        if isinstance(spec.dataset, RejectionSamplingData):
            yield Phase(phase="sampling")
            loaded, sampling_notes, models = rejection.sample(assignment, spec, spec.dataset, pool, device)
            notes.extend(sampling_notes)
            reports.extend(models)
        else:
            loaded = load_rows(spec.dataset, assignment.files, "dataset", notes)
        rows = without_held_out(loaded, held_out)
        setup = Setup(spec, policy, assignment.models, rows, pool, assignment.files, tools=tools)
        setup.notes.extend([*notes, *spec_notes.collect(spec, policy, rows, held_out)])
        setup.notes.extend(gold_answers.collect(spec, pool, loaded, held_out))
        setup.notes.extend(spec_notes.left_out(len(loaded), len(rows)))
        algorithm = build(setup)
        setup.notes.extend(outlook.notes(spec, setup.steps))
        evaluation = algorithm.evaluation(held_out) if held_out else None
        if not assignment.resume_from:
            setup.notes.extend(loading.resizing_notes(spec, policy))
            yield from [*reports, *setup.loaded]
        yield from _Loop(setup, assignment, algorithm, evaluation).events(should_stop)


class _Loop:
    def __init__(
        self, setup: Setup, assignment: Assignment, algorithm: Algorithm, evaluation: Evaluator | None
    ) -> None:
        self._setup, self._spec = setup, setup.spec
        self._algorithm, self._evaluation = algorithm, evaluation
        self._resume_from, self._directory = assignment.resume_from, Path(assignment.directory)
        self._early_stopping = EarlyStopping(self._spec.early_stopping) if self._spec.early_stopping else None
        self._monitor = RunMonitor(self._spec)
        self._metrics: dict[str, float] = {}
        """The metrics of the current step, with those of its evaluation; a checkpoint holds them."""
        self._ended_early = False

    def events(self, should_stop: ShouldStop) -> Iterator[Event]:
        step = self._restore() if self._resume_from else 0
        yield self._started(step)
        if not self._resume_from:
            yield Previewed(rows=preview(self._setup))
        yield from self._notes(0)
        if self._resume_from:  # again: the first report may be lost
            yield Saved(step=step, directory=self._resume_from, metrics=self._metrics)
        else:
            yield from self._evaluate(0)
        stop = should_stop()
        while step < self._setup.steps and not stop and not self._ended_early:
            yield Phase(phase="training")
            step += 1
            try:
                yield from self._advance(step)
            except NotFinite as error:
                yield from self._notes(step)
                yield _not_finite(error, step)
                return
            stop = should_stop() if step < self._setup.steps else None
            if stop != "cancel":
                yield from self._after_step(step, pausing=stop == "pause")
        yield Stopped(step=step) if stop and not self._ended_early else Finished()

    def _started(self, step: int) -> Started:
        policy = self._setup.policy
        return Started(
            total_steps=self._setup.steps,
            steps_per_epoch=self._setup.steps_per_epoch,
            resumed_step=step,
            parameters=policy.parameters,
            device=str(policy.device),
            precision=str(policy.dtype).removeprefix("torch."),
        )

    def _advance(self, step: int) -> Iterator[Event]:
        failpoint("step.begun")
        start = perf_counter()
        result = self._algorithm.advance(step - 1)
        seconds = perf_counter() - start
        rate = result.metrics["train/tokens"] / seconds
        self._metrics = result.metrics | {"train/tokens_per_second": rate, "time/step": seconds}
        self._setup.notes.extend(self._monitor.observe(self._metrics))
        yield Step(step=step, metrics=self._metrics)
        failpoint("step.reported")
        yield from _sampled(step, result.samples)
        yield from self._notes(step)
        for name, value in self._metrics.items():
            if not math.isfinite(value):
                raise NotFinite(name, value, None)

    def _after_step(self, step: int, *, pausing: bool) -> Iterator[Event]:
        """Evaluate and save where due: the evaluation first, so that the checkpoint has its metrics."""
        last = step == self._setup.steps
        if last or _due(step, self._spec.evaluation.every):
            yield from self._evaluate(step)
        if last or pausing or self._ended_early or _due(step, self._spec.checkpoint.every):
            self._setup.notes.extend(spec_notes.missing_best_metric(self._spec, self._metrics))
            yield from self._notes(step)
            yield Phase(phase="saving")
            path = self._save(step)
            self._setup.notes.extend(export.notes(path, self._setup.policy, self._spec))
            yield from self._notes(step)
            yield Saved(step=step, directory=str(path), metrics=self._metrics)

    def _save(self, step: int) -> Path:
        """Rank 0 writes; the others wait for it."""
        world, path = self._setup.world, self._directory
        if world.rank == 0:
            path = checkpoint.save(self._directory, self._snapshot(step))
        return world.broadcast(path)

    def _evaluate(self, step: int) -> Iterator[Event]:
        if self._evaluation is None:
            return
        yield Phase(phase="evaluating")
        metrics, samples = self._evaluation.run()
        if step == 0:
            spec_notes.check_best_metric(self._spec, metrics)
        self._metrics = self._metrics | metrics
        yield Evaluated(step=step, metrics=metrics)
        yield from _sampled(step, samples)
        if (
            self._early_stopping
            and (reason := self._early_stopping.observe(step, metrics))
            and step < self._setup.steps
        ):
            self._ended_early = True
            self._setup.notes.append(Note("ended_early", reason))
        self._setup.notes.extend(self._monitor.observe_evaluation(metrics))
        yield from self._notes(step)

    def _notes(self, step: int) -> Iterator[Event]:
        notes = list(self._setup.notes)
        self._setup.notes.clear()
        for note in notes:
            yield Warned(note=note.at(step))

    def _snapshot(self, step: int) -> Snapshot:
        algorithm, setup = self._algorithm, self._setup
        # Stored checkpoints have these keys: "watch" is the run monitor's, "patience" that of early stopping.
        state: State = {
            "algorithm": algorithm.state.parts_state(),
            "tokens": setup.tokens.size,
            "rollouts": setup.rollouts.size,
            "watch": self._monitor.state(),
            "patience": self._early_stopping.state() if self._early_stopping else None,
            "ended_early": self._ended_early,
            "steps": setup.steps,
        }
        trained = algorithm.state
        return Snapshot(step, setup.policy, trained.learners, trained.modules, state, self._metrics, self._spec)

    def _restore(self) -> int:
        assert self._resume_from is not None
        restored = checkpoint.restore(
            Path(self._resume_from), self._algorithm.state.learners, self._algorithm.state.modules
        )
        self._metrics, state = restored.metrics, restored.state
        self._algorithm.state.restore_parts(state["algorithm"])
        self._setup.tokens.size, self._setup.rollouts.size = state["tokens"], state["rollouts"]
        self._monitor.restore(state["watch"])
        before = state.get("steps", self._setup.steps)  # other than now where an ended job is extended
        if before < self._setup.steps:
            self._setup.notes += spec_notes.extension(self._spec, restored.step, before, self._setup.steps)
            return restored.step
        if self._early_stopping and state["patience"]:
            self._early_stopping.restore(state["patience"])
        self._ended_early = state["ended_early"]
        return restored.step


def _not_finite(error: NotFinite, step: int) -> Failed:
    where = f", first in {error.layer}" if error.layer else ""
    return Failed(
        category="nan",
        message=f"{error.metric} became {error.value} in step {step}{where}",
        hint="lower optimizer.learning_rate, lengthen optimizer.warmup_steps, or set precision to fp32; "
        "the last checkpoint is complete",
    )


def _due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0


def _sampled(step: int, samples: list[SampledResponse]) -> Iterator[Event]:
    if samples:
        yield Sampled(step=step, samples=samples)
