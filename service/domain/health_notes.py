"""The codes of health notes, and the notes that the code of Hone makes."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from hone.documents.health_notes import HealthNote, Severity

NoteCode = Literal[
    "no_effect",
    "fields_ignored",
    "limited_by_model",
    "rows_too_long",
    "rows_left_out",
    "rows_sampled",
    "rows_converted",
    "prompts_left_out",
    "few_rows",
    "equal_pairs",
    "answers_as_text",
    "answers_unreadable",
    "empty_answers",
    "thoughts_left_out",
    "own_tags",
    "reasoning_in_content",
    "completion_as_written",
    "names_left_out",
    "white_space_cut",
    "text_rewritten",
    "text_normalized",
    "answer_unwritable",
    "columns_unread",
    "contradicting_rows",
    "repeated_rows",
    "other_header",
    "weight_not_learned",
    "control_tokens",
    "tools_unseen",
    "padded",
    "embedding_resized",
    "new_rows_untrained",
    "out_of_memory",
    "loss_rose",
    "eval_loss_rises",
    "reward_flat",
    "reward_fell",
    "responses_cut",
    "zero_variance",
    "entropy_low",
    "kl_high",
    "kl_biased",
    "rewards_failed",
    "schedule_extended",
    "ended_early",
    "best_unknown",
    "export_widened",
    "checkpoint_damaged",
    "storage_failed",
    "log_cut",
]


class Meaning(NamedTuple):
    """What a code stands for."""

    severity: Severity
    sentence: str


CODES: dict[NoteCode, Meaning] = {
    "no_effect": Meaning("info", "a field of the spec has no effect with the other fields, the rows or the model"),
    "fields_ignored": Meaning("warning", "the stored spec has fields that this version does not know"),
    "limited_by_model": Meaning("info", "the model's context is shorter than a length that the spec asks for"),
    "rows_too_long": Meaning("warning", "rows are longer than the limit, and lose an end or are dropped"),
    "rows_left_out": Meaning("info", "training rows are left out, because eval_dataset has the same questions"),
    "rows_sampled": Meaning("info", "how many responses rejection sampling kept"),
    "rows_converted": Meaning("info", "rows in the shape of another tool were read as Hone's"),
    "prompts_left_out": Meaning("warning", "prompts that are too long to be answered are left out"),
    "few_rows": Meaning("warning", "there are fewer rows than a step takes, so rows come several times in a step"),
    "equal_pairs": Meaning("warning", "preference rows whose two responses are equal teach nothing"),
    "answers_as_text": Meaning(
        "info", "answers of rows are no expressions, so that only the same text answers with them"
    ),
    "answers_unreadable": Meaning("warning", "answers of held-out rows cannot be judged, so that no response is right"),
    "empty_answers": Meaning("warning", "rows teach an empty answer"),
    "thoughts_left_out": Meaning("warning", "the chat template leaves the thoughts of earlier turns out"),
    "own_tags": Meaning("warning", "Hone's own tags show tools and calls, for which the chat template has no form"),
    "reasoning_in_content": Meaning("warning", "thoughts are written into the content: the chat template has no form"),
    "completion_as_written": Meaning("info", "a completion is learned as it is, not as the chat template writes it"),
    "names_left_out": Meaning("warning", "the chat template leaves the names of speakers out"),
    "white_space_cut": Meaning("info", "the chat template cuts white space off the ends of an answer"),
    "text_rewritten": Meaning("warning", "the chat template rewrites a text that is only read"),
    "text_normalized": Meaning("warning", "the tokenizer writes texts of rows in another form"),
    "answer_unwritable": Meaning("warning", "the tokenizer cannot write answers that responses are compared with"),
    "columns_unread": Meaning("info", "rows have columns that nothing reads"),
    "contradicting_rows": Meaning("warning", "rows teach the opposite of each other"),
    "repeated_rows": Meaning("info", "rows are there several times, and so count more than others"),
    "other_header": Meaning("warning", "earlier turns are learned behind another beginning than sampling's"),
    "weight_not_learned": Meaning("warning", "messages of weight 1 are not learned, because of loss_on"),
    "control_tokens": Meaning("warning", "texts of rows have control tokens, and the model reads them as such"),
    "tools_unseen": Meaning("warning", "no prompt shows or names the tools that the policy may call"),
    "padded": Meaning("info", "packing was asked for, but this model needs padding"),
    "embedding_resized": Meaning("info", "rows were added to the embedding, as resize_embeddings asks"),
    "new_rows_untrained": Meaning("warning", "rows that were added to the embedding are not trained"),
    "out_of_memory": Meaning("warning", "memory ran out, and the step was repeated in smaller pieces"),
    "loss_rose": Meaning("critical", "the loss is far above that of the first steps"),
    "eval_loss_rises": Meaning("warning", "the loss on held-out rows rises while that on training rows falls"),
    "reward_flat": Meaning("warning", "the reward is no higher than in the first steps"),
    "reward_fell": Meaning("critical", "the reward is lower than in the first steps"),
    "responses_cut": Meaning("warning", "the length limit cuts off most responses"),
    "zero_variance": Meaning("warning", "most prompts have responses that all earn the same reward: no gradient"),
    "entropy_low": Meaning("warning", "the policy has stopped exploring: its responses to a prompt are all alike"),
    "kl_high": Meaning("critical", "the policy is far from the reference model"),
    "kl_biased": Meaning("warning", "the KL estimate does not have the KL's gradient where it is used"),
    "rewards_failed": Meaning("warning", "some responses could not be judged"),
    "schedule_extended": Meaning("info", "an extended job goes on with the schedule of a longer one"),
    "ended_early": Meaning("info", "early stopping has ended the job"),
    "best_unknown": Meaning("warning", "the best checkpoint cannot be chosen, for lack of its metric"),
    "export_widened": Meaning("warning", "weights do not fit into export.dtype, so the export has a wider one"),
    "checkpoint_damaged": Meaning(
        "warning", "a checkpoint's files are not those that were stored, so an older one is used"
    ),
    "storage_failed": Meaning("warning", "a checkpoint could not be stored at once; the job went on and tried again"),
    "log_cut": Meaning("info", "the job's log has reached its limit; only its end is kept"),
}


@dataclass(frozen=True, slots=True)
class Note:
    """Something that people should know of a job.

    Example:

        Note("no_effect", "evaluation.every is 50 of 10 steps, so it has no effect", "lower it, or raise steps",
             "evaluation.every")
    """

    code: NoteCode
    message: str
    remedy: str | None = None
    param: str | None = None
    """The field of the spec, or the metric."""

    def __str__(self) -> str:
        """A sentence for logs."""
        return f"{self.message}; {self.remedy}" if self.remedy else self.message

    def at(self, step: int) -> HealthNote:
        """The note as a document, seen at a step."""
        return HealthNote(
            code=self.code,
            severity=CODES[self.code].severity,
            param=self.param,
            message=self.message,
            remedy=self.remedy,
            first_step=step,
            last_step=step,
        )
