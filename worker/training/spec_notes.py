"""Health notes at the start of a job: fields without an effect, and rows that teach nothing or lose something.

The spec alone does not show it, so the job runs and says so (`service/domain/effects.py` refuses the others).
"""

from collections.abc import Iterator, Sequence
from json import dumps
from math import ceil
from typing import Any

from hone.errors import Invalid
from service.domain.algorithms import PolicySpec
from service.domain.conversions import OTHER_NAMES
from service.domain.datasets import FileData, Template
from service.domain.effect_rules import answers
from service.domain.health_notes import Note
from service.domain.messages import text_of
from service.domain.needs import question_columns
from service.domain.rewards import ToolUseReward
from service.domain.shapes import KNOWN
from service.domain.specs import JobSpec
from service.domain.supervised import RewardModelSpec, SFTSpec
from worker.training.data.encoded import EncodedRows
from worker.training.data.rows import Row, row_numbers
from worker.training.models.policy import Policy
from worker.training.tools.tags import CALL
from worker.training.updates.schedule import learning_rate

DECODING = ("max_completion_length", "batch_size", "num_generations", "temperature", "top_p", "top_k", "pass_at")
"""Of `evaluation`: how held-out prompts are answered."""
MAX_NAMED_COLUMNS = 10


def collect(spec: JobSpec, policy: Policy, rows: Sequence[Row], held_out: Sequence[Row]) -> list[Note]:
    """What the rows and the model show of a spec; each note has field, value and remedy."""
    notes = [
        *_packing(spec, policy),
        *unused_template("dataset", spec.dataset.template, rows),
        *_tools(spec, policy, rows),
        *_margin(spec, rows),
        *_prompt_length(spec, policy),
        *_few_rows(spec, rows),
        *_equal_pairs(rows),
        *_empty_answers(spec, rows),
        *_unread_columns(spec, rows),
        *_contradictions(spec, rows),
    ]
    if spec.eval_dataset is not None:
        notes += [
            *unused_template("eval_dataset", spec.eval_dataset.template, held_out),
            *_evaluation(spec, policy, held_out),
        ]
    return notes


def unused_template(field: str, chosen: Template, rows: Sequence[Row]) -> Iterator[Note]:
    """`template` is for plain prompts: messages always go through the chat template, texts never."""
    if chosen != "auto" and rows and not any(isinstance(row.get("prompt"), str) for row in rows):
        name = f"{field}.template"
        yield _idle(name, f"{name} is {chosen}, which is for plain prompts, but no row has one", "leave it out")


def _unread_columns(spec: JobSpec, rows: Sequence[Row]) -> Iterator[Note]:
    """Of columns of a file that are neither Hone's nor asked for by a reward."""
    if not isinstance(spec.dataset, FileData):
        return
    asked = {reward.expected for reward in spec.rewards if isinstance(reward, ToolUseReward)}
    given = dict.fromkeys(name for row in rows for name, value in row.items() if value not in (None, "", [], {}))
    unread = [name for name in given if name not in KNOWN and name not in OTHER_NAMES and name not in asked]
    if unread:
        names = ", ".join(f"`{name}`" for name in unread[:MAX_NAMED_COLUMNS])
        more = f" and {len(unread) - MAX_NAMED_COLUMNS:,} more" if len(unread) > MAX_NAMED_COLUMNS else ""
        message = f"dataset has columns that nothing reads: {names}{more}"
        yield Note(
            "columns_unread", message, "name one in dataset.columns if it says what is asked or answered", "dataset"
        )


def _contradictions(spec: JobSpec, rows: Sequence[Row]) -> Iterator[Note]:
    """Of rows of a file that teach the opposite of each other, or say the same again."""
    if not isinstance(spec.dataset, FileData):
        return
    seen: dict[str, int] = {}
    swapped, repeated, answers = [], [], dict[str, set[str]]()
    for index, row in enumerate(rows):
        asked = dumps(row.get("prompt"), sort_keys=True)
        better, worse = (dumps(row.get(name), sort_keys=True) for name in ("chosen", "rejected"))
        if "chosen" in row and better != worse and f"{asked}{worse}{better}" in seen:
            swapped.append(index)
        if "answer" in row and isinstance(spec.algorithm, PolicySpec):
            answers.setdefault(asked, set()).add(str(row["answer"]))
        whole = f"{asked}{better}{worse}" if "chosen" in row else dumps(row, sort_keys=True)
        if whole in seen:
            repeated.append(index)
        seen.setdefault(whole, index)
    several = sum(len(each) > 1 for each in answers.values())
    negative = [index for index, row in enumerate(rows) if (row.get("margin") or 0) < 0]
    if swapped:
        message = f"{len(swapped):,} of {len(rows):,} rows of dataset prefer what another row rejects"
        yield Note("contradicting_rows", f"{message}: {row_numbers(swapped)}", "keep one of each two", "dataset")
    if several:
        message = (
            f"{several:,} of {len(answers):,} prompts of dataset have several answers, so no response is right for all"
        )
        yield Note("contradicting_rows", message, "keep one row of each prompt", "dataset")
    if negative:
        message = f"{len(negative):,} of {len(rows):,} rows of dataset have a negative margin, so the rejected response"
        message += f" may score higher: {row_numbers(negative)}"
        yield Note("contradicting_rows", message, "swap `chosen` and `rejected`, or leave the margin out", "dataset")
    if repeated:
        message = f"{len(repeated):,} of {len(rows):,} rows of dataset are there already: {row_numbers(repeated)}"
        yield Note("repeated_rows", message, "leave them out if they should not count more than others", "dataset")


def left_out(loaded: int, kept: int) -> Iterator[Note]:
    """Of training rows whose questions are held out."""
    if loaded > kept:
        message = f"{loaded - kept:,} of {loaded:,} training rows are left out: eval_dataset has the same questions"
        yield Note("rows_left_out", message, param="eval_dataset")


def too_long(field: str, encoded: EncodedRows, max_length: int | None, context: int) -> Iterator[Note]:
    """Of rows that were cut or dropped. `max_length` is the spec's; the model reads `context` tokens."""
    cut, dropped = len(set(encoded.too_long) - set(encoded.dropped)), len(encoded.dropped)
    if not cut and not dropped:
        return
    effects = [f"{cut:,} lose their {encoded.truncation}"] * bool(cut) + [f"{dropped:,} are dropped"] * bool(dropped)
    by_model = max_length is None or encoded.limit >= context
    what = "the model reads" if by_model else "max_length allows"
    remedy = (
        "shorten them, or train a model with a longer context"
        if by_model
        else "raise algorithm.max_length, or shorten them"
    )
    message = (
        f"{len({*encoded.too_long, *encoded.dropped}):,} of {encoded.total:,} rows of {field} are longer than "
        f"{what} ({encoded.limit:,} tokens): {' and '.join(effects)}"
    )
    if cut and encoded.truncation == "end":
        message += "; a row without its end does not teach where an answer ends"
    yield Note("rows_too_long", message, remedy, field)


def extension(spec: JobSpec, step: int, before: int, steps: int) -> Iterator[Note]:
    """What an extended job does to a schedule that was made for fewer steps."""
    peak, optimizer = spec.optimizer.learning_rate or 0.0, spec.optimizer
    last, following = (learning_rate(peak, optimizer, *each) for each in ((step - 1, before), (step, steps)))
    if optimizer.schedule != "constant":
        message = (
            f"optimizer.schedule is {optimizer.schedule}, which goes on as in a job of {steps:,} steps: the learning "
            f"rate was {last:.3g} in step {step:,} of {before:,}, and is now {following:.3g}"
        )
        yield Note("schedule_extended", message, "choose constant if a job may be extended", "optimizer.schedule")


def check_best_metric(spec: JobSpec, evaluated: dict[str, float]) -> None:
    """Invalid, before the first step, if `keep_best` names a metric that the evaluation does not give."""
    name = spec.checkpoint.keep_best
    if name is not None and name.startswith("eval/") and name not in evaluated:
        reported = ", ".join(sorted(evaluated))
        message = f"checkpoint.keep_best is '{name}', but the evaluation gives {reported}; name one of them"
        raise Invalid(message, param="checkpoint.keep_best")


def missing_best_metric(spec: JobSpec, metrics: dict[str, float]) -> Iterator[Note]:
    """Of a checkpoint without a value of the metric by which the best one is chosen."""
    name = spec.checkpoint.keep_best
    if name is None or name.startswith("eval/") or name in metrics:
        return
    message = f"checkpoint.keep_best is '{name}', which no step reports"
    yield Note("best_unknown", message, f"name another of {', '.join(sorted(metrics))}", "checkpoint.keep_best")


def _idle(field: str, message: str, remedy: str) -> Note:
    return Note("no_effect", message, remedy, field)


def _packing(spec: JobSpec, policy: Policy) -> Iterator[Note]:
    if spec.packing and not policy.packing:
        message = "packing is true, but this model gives other results on packed sequences, so they are padded"
        yield Note("padded", message, param="packing")


def _tools(spec: JobSpec, policy: Policy, rows: Sequence[Row]) -> Iterator[Note]:
    """Tools are shown in prompts by a chat template alone; where they are called, a prompt may do without it."""
    if spec.tools is None:
        return
    if answers(spec):
        yield from _unseen_tools(spec, policy, rows)
        return
    has_template = getattr(policy.tokenizer, "chat_template", None) is not None
    plain_too = spec.dataset.template != "text"
    asked = any(_in_chat(row, plain_too=plain_too) and not row.get("tools") for row in rows)
    if not (has_template and asked):
        message = (
            "tools are shown by the model's chat template to rows that name none, but every row names its "
            "tools or is plain text"
        )
        yield _idle("tools", message, "leave them out, or give eval_dataset")


def _unseen_tools(spec: JobSpec, policy: Policy, rows: Sequence[Row]) -> Iterator[Note]:
    has_template = getattr(policy.tokenizer, "chat_template", None) is not None and spec.dataset.template != "text"
    read = ("prompt", "completion") if isinstance(spec.algorithm, SFTSpec) else ("prompt",)
    plain = [str([row.get(column) for column in read]) for row in rows if isinstance(row.get("prompt"), str)]
    words = (CALL, *spec.tools.functions) if spec.tools else ()
    if plain and not has_template and not any(word in text for text in plain for word in words):
        remedy = "set dataset.template to chat, name them in the prompts, or start from a model that calls them"
        yield Note("tools_unseen", "tools are not shown in plain prompts, and no prompt names one", remedy, "tools")


def _in_chat(row: Row, *, plain_too: bool) -> bool:
    if row.get("messages") is not None or isinstance(row.get("prompt"), list):
        return True
    return plain_too and row.get("prompt") is not None


def _margin(spec: JobSpec, rows: Sequence[Row]) -> Iterator[Note]:
    algorithm = spec.algorithm
    if (
        isinstance(algorithm, RewardModelSpec)
        and algorithm.margin
        and all(row.get("margin") is not None for row in rows)
    ):
        message = f"algorithm.margin is {algorithm.margin:g}, but every row has its own, which wins"
        yield _idle("algorithm.margin", message, "leave it out")


def _prompt_length(spec: JobSpec, policy: Policy) -> Iterator[Note]:
    if not isinstance(spec.algorithm, PolicySpec) or spec.algorithm.max_prompt_length is None:
        return
    wanted, name = spec.algorithm.max_prompt_length, "algorithm.max_prompt_length"
    room = policy.context - spec.algorithm.max_completion_length - 1
    if wanted > room > 0:
        message = f"{name} is {wanted:,}, but the model's context leaves {room:,} tokens beside max_completion_length"
        yield Note("limited_by_model", message, "lower one of them", name)


def _few_rows(spec: JobSpec, rows: Sequence[Row]) -> Iterator[Note]:
    """A step takes each row at most once only if there are enough."""
    name = "prompts_per_step" if isinstance(spec.algorithm, PolicySpec) else "batch_size"
    wanted = getattr(spec.algorithm, name)
    if len(rows) < wanted:
        times = ceil(wanted / len(rows))
        often = "twice" if times == 2 else f"{times:,} times"
        message = (
            f"algorithm.{name} is {wanted:,}, but there are {len(rows):,} rows, so each step has some of them {often}"
        )
        yield Note("few_rows", message, "lower it, or give more rows", f"algorithm.{name}")


def _equal_pairs(rows: Sequence[Row]) -> Iterator[Note]:
    equal = [index for index, row in enumerate(rows) if row.get("chosen") and row["chosen"] == row.get("rejected")]
    if equal:
        what = f"{len(equal):,} of {len(rows):,} rows of dataset have `chosen` equal to `rejected`"
        message = f"{what}, so they teach nothing: {row_numbers(equal)}"
        yield Note("equal_pairs", message, "leave them out", "dataset")


def _empty_answers(spec: JobSpec, rows: Sequence[Row]) -> Iterator[Note]:
    """Only what is learned counts; a turn that calls a tool needs no text."""
    if not isinstance(spec.algorithm, SFTSpec):
        return
    empty = [index for index, row in enumerate(rows) if any(_is_empty(answer) for answer in _answers(row, spec))]
    if empty:
        what = f"{len(empty):,} of {len(rows):,} rows of dataset teach an empty answer"
        message = f"{what}, so the policy learns to say nothing: {row_numbers(empty)}"
        yield Note("empty_answers", message, "fill them in, or leave them out", "dataset")


def _answers(row: Row, spec: JobSpec) -> list[Any]:
    """The learned answers of a row: texts or messages."""
    if row.get("messages") is None:
        completion = row.get("completion")
        return completion if isinstance(completion, list) else [completion]
    turns = [message for message in row["messages"] if message.get("role") == "assistant"]
    return turns if getattr(spec.algorithm, "loss_on", None) == "assistant" else turns[-1:]


def _is_empty(answer: Any) -> bool:
    """Whether a text is blank, or a message of the assistant has neither text nor calls."""
    if not isinstance(answer, dict):
        return isinstance(answer, str) and not answer.strip()
    if answer.get("role") != "assistant" or answer.get("tool_calls") or answer.get("weight") == 0:
        return False
    return not text_of(answer.get("content")).strip()


def _evaluation(spec: JobSpec, policy: Policy, held_out: Sequence[Row]) -> Iterator[Note]:
    if not answers(spec):
        return
    asked = any(all(row.get(name) is not None for name in question_columns(spec)) for row in held_out)
    if not asked:
        yield from _idle_evaluation(spec)
        return
    wanted, limit = spec.evaluation.max_completion_length, policy.context // 2
    if wanted is not None and wanted > limit:
        name = "evaluation.max_completion_length"
        message = f"{name} is {wanted:,}, but responses get {limit:,} tokens, half of what the model reads"
        yield Note("limited_by_model", message, "lower it", name)


def _idle_evaluation(spec: JobSpec) -> Iterator[Note]:
    """What says how held-out prompts are answered, where none is."""
    fields = type(spec.evaluation).model_fields
    given = [
        f"evaluation.{name}"
        for name in DECODING
        if getattr(spec.evaluation, name) != fields[name].get_default(call_default_factory=True)
    ]
    idle = given + ["rewards"] * bool(spec.rewards and spec.dataset.source != "rejection-sampling")
    if idle:
        have = "has" if len(idle) == 1 else "have"
        message = f"{', '.join(idle)} {have} no effect: no row of eval_dataset has `prompt` and `answer`"
        yield _idle(idle[0], message, "add them")
