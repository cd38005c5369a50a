"""What happened to some rows on their way to tokens, counted."""

from collections import Counter
from enum import Enum

from service.domain.health_notes import Note, NoteCode


class RowNote(Enum):
    """What happened to a row: its code, how the text `3 of 12 rows of dataset` continues, and what to do about it."""

    THOUGHTS = (
        "thoughts_left_out",
        "lose the thoughts of earlier turns, which the model's chat template leaves out",
        "make a row of each turn if its thoughts are to be read or learned",
    )
    TAGS = (
        "own_tags",
        "have tools, calls or outputs that the model's chat template does not show, or shows in a form that the tools "
        "do not read; they are written as text between <tools>, <tool_call> and <tool_response>",
        "show the trained model its conversations in that form",
    )
    REASONING = (
        "reasoning_in_content",
        "have reasoning_content, for which the model's chat template has no form; it is written into the content "
        "between <think> and </think>",
        "read it from there",
    )
    AS_WRITTEN = (
        "completion_as_written",
        "have a completion that the model's chat template does not show as it is; it is learned as it is, behind the "
        "prompt, which is how a model would write it",
        None,
    )
    NAMES = (
        "names_left_out",
        "have names of speakers that the model's chat template does not show",
        "write them into the content",
    )
    TRIMMED = (
        "white_space_cut",
        "have an answer that begins or ends with white space, which the model's chat template cuts off",
        "set template to text if it matters",
    )
    REWRITTEN = (
        "text_rewritten",
        "have a text that the model's chat template writes otherwise, and which is only read",
        "look at the preview of the job",
    )
    HEADERS = (
        "other_header",
        "have earlier turns that are learned behind another beginning than the one behind which the model's chat "
        "template lets it answer (such as one that opens <think>)",
        "make a row of each turn if that matters",
    )
    UNLEARNED_WEIGHT = (
        "weight_not_learned",
        "have a message with weight 1 that is not learned, because loss_on is completion",
        "set loss_on to assistant",
    )
    CONTROL = (
        "control_tokens",
        "have control tokens of the tokenizer, such as the end of a turn, in their texts, and the model reads them as "
        "such",
        "take them out, or set special_tokens of the dataset to text",
    )

    NORMALIZED = (
        "text_normalized",
        "have texts that the model's tokenizer writes in another form (such as lower case, without accents, with other "
        "white space)",
        "look at the preview of the job",
    )
    ANSWER = (
        "answer_unwritable",
        "have an answer with characters that the model's tokenizer cannot write, so no response can be equal to it",
        "write the answer in characters that the tokenizer has, or use a model with another tokenizer",
    )
    TOOLS = (
        "tools_unseen",
        "have tools, which plain text does not show",
        "use a model with a chat template if the model should see them",
    )

    def __init__(self, code: NoteCode, what: str, remedy: str | None) -> None:
        self.code, self.what, self.remedy = code, what, remedy


class RowNotes:
    """How many rows each note is about."""

    def __init__(self) -> None:
        self._rows: Counter[RowNote] = Counter()
        self._of_row: set[RowNote] = set()

    def add(self, note: RowNote) -> None:
        """Once or more often for the same row."""
        self._of_row.add(note)

    def end_row(self) -> None:
        """Count the notes of a row."""
        self._rows.update(self._of_row)
        self._of_row.clear()

    def forget_row(self) -> None:
        """What was added is about no row, such as the output of a tool while the policy samples."""
        self._of_row.clear()

    def take(self, total: int, field: str) -> list[Note]:
        """A health note for each, of `total` rows of a dataset; the count begins anew."""
        notes = [
            Note(note.code, f"{self._rows[note]:,} of {total:,} rows of {field} {note.what}", note.remedy, field)
            for note in RowNote
            if self._rows[note]
        ]
        self._rows.clear()
        return notes
