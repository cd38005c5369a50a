"""Health notes of a job at its start: fields that would have an effect in a longer job, or with more updates a step.

None of these is refused: a trial of ten steps with the settings for a thousand is not a mistake.
"""

from collections.abc import Iterator
from math import lcm

from service.domain.algorithms import ClippedSpec, MirrorDescentSpec, PolicySpec, PPOSpec
from service.domain.effect_rules import updates
from service.domain.health_notes import Note
from service.domain.specs import JobSpec


def notes(job: JobSpec, steps: int) -> list[Note]:
    """Each with field, value and remedy, about a job of so many steps."""
    found = [*_schedule(job, steps), *_periods(job, steps), *_ends(job, steps), *_sampling(job)]
    if isinstance(job.algorithm, PolicySpec):
        found += [*_later(job.algorithm, steps), *_single_update(job.algorithm), *_estimator(job.algorithm)]
    return found


def _idle(field: str, message: str, remedy: str) -> Note:
    return Note("no_effect", f"{field} is {message}", remedy, field)


def _schedule(job: JobSpec, steps: int) -> Iterator[Note]:
    warmup = job.optimizer.warmup_steps
    trained = steps - getattr(job.algorithm, "critic_warmup_steps", 0)  # the policy's rate begins after these
    if 0 < trained <= warmup:
        yield _idle(
            "optimizer.warmup_steps",
            f"{warmup:,} of {trained:,} steps: the learning rate never reaches its peak, and the schedule has no "
            "effect",
            "lower it, or raise steps",
        )


def _periods(job: JobSpec, steps: int) -> Iterator[Note]:
    """Periods that are longer than the job; what they bring is done at the last step all the same."""
    for field, every in (("evaluation.every", job.evaluation.every), ("checkpoint.every", job.checkpoint.every)):
        if every is not None and every > steps:
            yield _idle(field, f"{every:,} of {steps:,} steps, so it has no effect", "lower it, or raise steps")


def _ends(job: JobSpec, steps: int) -> Iterator[Note]:
    """Choices between evaluations, where there are too few of them."""
    evaluations, saves, name = job.evaluation.every, job.checkpoint.every, job.checkpoint.keep_best
    if job.early_stopping and evaluations:
        before_last = (steps - 1) // evaluations
        if job.early_stopping.patience > before_last:
            yield _idle(
                "early_stopping.patience",
                f"{job.early_stopping.patience}, but only {before_last} evaluations come between the first and the "
                "last step, so the job never ends early",
                "lower it, or evaluation.every",
            )
    if saves is None and (name is not None or job.checkpoint.keep_last != type(job.checkpoint)().keep_last):
        field, value = ("keep_last", job.checkpoint.keep_last) if name is None else ("keep_best", name)
        reason = f"{value}, but checkpoint.every is null, so only the last step and pauses are saved"
        yield _idle(f"checkpoint.{field}", reason, "set checkpoint.every")
    chooses = saves is not None and saves < steps and name is not None and name.startswith("eval/")
    if chooses and (evaluations is None or lcm(saves or 1, evaluations) >= steps):
        yield _idle(
            "checkpoint.keep_best",
            f"{name}, but only the last checkpoint is written at a step that is evaluated",
            "make checkpoint.every a multiple of evaluation.every",
        )


def _sampling(job: JobSpec) -> Iterator[Note]:
    if job.evaluation.top_k == 1:
        yield _idle(
            "evaluation.top_k",
            "1, which takes the likeliest token, so temperature and top_p have no effect",
            "raise it, or set evaluation.temperature to 0",
        )


def _later(algorithm: PolicySpec, steps: int) -> Iterator[Note]:
    """What begins after the last step."""
    if algorithm.length_penalty and algorithm.length_penalty_warmup_steps >= steps:
        yield _idle(
            "algorithm.length_penalty_warmup_steps",
            f"{algorithm.length_penalty_warmup_steps:,} of {steps:,} steps, so length_penalty has no effect",
            "lower it, or raise steps",
        )
    if algorithm.ref_sync_steps and algorithm.ref_sync_steps >= steps:
        yield _idle(
            "algorithm.ref_sync_steps",
            f"{algorithm.ref_sync_steps:,} of {steps:,} steps, so the reference model stays",
            "lower it, or raise steps",
        )
    if isinstance(algorithm, PPOSpec) and algorithm.critic_warmup_steps >= steps:
        yield _idle(
            "algorithm.critic_warmup_steps",
            f"{algorithm.critic_warmup_steps:,} of {steps:,} steps, so the policy is never trained",
            "lower it, or raise steps",
        )


def _single_update(algorithm: PolicySpec) -> Iterator[Note]:
    """With one update for each batch of responses pi is pi_old when the gradient is taken.

    Not with partial rollouts: their pi_old are the older policies that sampled them.
    """
    if updates(algorithm) > 1 or algorithm.partial_rollout_length is not None:
        return
    remedy = "raise num_iterations or minibatches"
    for name in _of_the_ratio(algorithm):
        yield _idle(
            f"algorithm.{name}",
            f"{getattr(algorithm, name)}, but with one update for each batch of responses every ratio is 1, "
            "and it has no effect",
            remedy,
        )
    if isinstance(algorithm, MirrorDescentSpec) and algorithm.baseline == "mean" and _differs(algorithm, "tau"):
        yield _idle(
            "algorithm.tau",
            f"{algorithm.tau:g}, but with baseline mean and one update for each batch of responses no gradient "
            "depends on it",
            remedy,
        )


def _estimator(algorithm: PolicySpec) -> Iterator[Note]:
    """Estimators whose gradient is not that of the KL (Tang and Munos 2025, arXiv:2506.09477)."""
    if algorithm.beta == 0:
        return
    field, name, where = "algorithm.kl_estimator", algorithm.kl_estimator, algorithm.kl_placement
    if (name, where, algorithm.kl_ratio_correction) == ("k1", "loss", False):
        yield _idle(
            field,
            "k1 with kl_placement loss: the expectation of its gradient is 0, so it keeps the policy nowhere",
            "set kl_ratio_correction to true, take k2 or k3, or set kl_placement to reward",
        )
    if where == "reward" and name != "k1":
        message = f"{field} is {name} with kl_placement reward: as a reward its gradient is not that of the KL"
        yield Note("kl_biased", message, "take k1, whose gradient as a reward is that of the KL", field)


def _of_the_ratio(algorithm: PolicySpec) -> list[str]:
    """The fields that have a value of their own and bound or shape the ratio."""
    if not isinstance(algorithm, ClippedSpec):
        return []
    names = ["clip_eps", "clip_eps_high", "dual_clip"]
    if not isinstance(algorithm, PPOSpec):  # its advantages differ from token to token, and one ratio mixes them
        names.append("importance_level")
    return [name for name in names if _differs(algorithm, name)]


def _differs(algorithm: PolicySpec, name: str) -> bool:
    return bool(getattr(algorithm, name) != type(algorithm).model_fields[name].default)
