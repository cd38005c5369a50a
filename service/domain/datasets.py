"""Where a job's rows come from, and the shapes that a row can have."""

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from hone.documents.validation import AtMost, ShortText, Strict, refusal
from service.domain.shapes import Column
from service.domain.tools import ToolName

LinearAlgebraTask = Literal["trace", "determinant", "transpose", "product", "rank", "inverse", "system"]
TOOL_TASKS: dict[LinearAlgebraTask, ToolName] = {
    "trace": "matrix_trace",
    "determinant": "determinant",
    "transpose": "matrix_transpose",
    "rank": "matrix_rank",
}
"""The kinds of problem that a tool solves, and that tool."""
Template = Literal["auto", "chat", "text"]
ColumnPath = Annotated[str, Field(min_length=1, max_length=200)]
"""A column of a file, or `column.key` for a value within an object."""


class Dataset(Strict):
    """Fields of every dataset."""

    template: Template = Field(
        "auto",
        description="how a plain `prompt` reaches the model: as a user message in its chat template, as text, "
        "or (auto) as a message if the tokenizer has a template",
    )


class LinearAlgebraData(Dataset):
    """Problems made exactly with sympy: chain of thought in <think>, result in <answer>.

    The same seed, tasks, size and difficulty give the same rows everywhere. Rows have `prompt`, `completion`
    (the worked solution), `answer`, `task` and `difficulty` (the length of the worked solution).

    With `tools` the solution is a conversation with calls of tools and their answers, in `completion` as messages, and
    `difficulty` is the number of calls; the tools themselves are in `tools`.
    """

    source: Literal["linear-algebra"] = "linear-algebra"
    tasks: Annotated[list[LinearAlgebraTask], AtMost(64)] = Field(
        ["trace", "determinant"], min_length=1, description="kinds of problem, in equal shares"
    )
    size: int = Field(1000, ge=1, le=1_000_000, description="number of rows")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the rows")
    dimension: int = Field(2, ge=1, le=5, description="rows and columns of the square matrices")
    max_entry: int = Field(9, ge=1, le=99, description="largest absolute value of an entry")
    negative: bool = Field(False, description="whether entries may be negative")
    style: Literal["symbolic", "prose"] = Field(
        "prose", description="symbolic: `det [[1,2],[3,4]]`; prose: a sentence in English"
    )
    tools: bool = Field(False, description="solve the problems by tool calls instead of by hand")
    max_calls: int = Field(
        1,
        ge=1,
        le=5,
        description="with tools: largest number of calls in a problem; the first calls transpose or make cofactors",
    )

    @model_validator(mode="after")
    def _check_tools(self) -> Self:
        if not self.tools and self.max_calls > 1:
            raise refusal("max_calls", "counts calls of tools; set tools to true, or this to 1", self.max_calls)
        if self.tools and (unsolvable := [task for task in self.tasks if task not in TOOL_TASKS]):
            message = f"has {unsolvable[0]}, which no tool solves; the tasks with tools are {', '.join(TOOL_TASKS)}"
            raise refusal("tasks", message, self.tasks)
        return self


class FileData(Dataset):
    """Rows of an uploaded JSONL file."""

    source: ShortText = Field(pattern=r"^file-[0-9A-Za-z]+$", description="the id of an uploaded file")
    limit: int | None = Field(None, ge=1, description="number of rows to use, from the first; null: all")
    columns: dict[Column, ColumnPath] = Field(
        default_factory=dict,
        description="the file's column for each of Hone's, e.g. {prompt: question, answer: reward_model.ground_truth}",
    )
    special_tokens: Literal["control", "text"] = Field(
        "control",
        description="how tokens that frame a conversation (`<|im_end|>`) are read where they stand in the texts of "
        "rows: as such, or as ordinary text",
    )


class RejectionSamplingData(Dataset):
    """A model's own correct answers, for SFT (DeepSeek-R1, arXiv:2501.12948, section 2.3.3; RAFT, STaR).

    The job's `rewards` decide which answers are correct. The rows are made when the job starts; all attempts get the
    same rows.
    """

    source: Literal["rejection-sampling"] = "rejection-sampling"
    model: str = Field(
        min_length=1, max_length=500, description="the model that answers, written like the spec's `model`"
    )
    prompts: "PlainDataset" = Field(description="rows of `prompt` and `answer`")
    num_generations: int = Field(4, ge=1, le=256, description="responses sampled for each prompt")
    max_completion_length: int = Field(
        512, ge=1, le=32_768, description="longest response in tokens; a response that is cut off is left out"
    )
    temperature: float = Field(1.0, gt=0, le=10, description="temperature of the sampling")
    min_reward: float = Field(1.0, description="weighted sum of the rewards that a response must earn to become a row")
    max_per_prompt: int = Field(
        1, ge=1, le=256, description="number of different responses per prompt that become rows, the best ones"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the sampling")


def _tag(value: Any) -> str:
    source = value.get("source", "linear-algebra") if isinstance(value, dict) else getattr(value, "source", "")
    if source == "rejection-sampling":
        return source
    return "file" if isinstance(source, str) and source.startswith("file-") else "linear-algebra"


PlainDataset = Annotated[
    Annotated[LinearAlgebraData, Tag("linear-algebra")] | Annotated[FileData, Tag("file")], Discriminator(_tag)
]
AnyDataset = Annotated[
    Annotated[LinearAlgebraData, Tag("linear-algebra")]
    | Annotated[RejectionSamplingData, Tag("rejection-sampling")]
    | Annotated[FileData, Tag("file")],  # last: programs that try one after another take any text for its `source`
    Discriminator(_tag),
]
RejectionSamplingData.model_rebuild()
