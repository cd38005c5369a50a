"""Where a job's rows come from, and the shapes that a row can have."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from service.domain.strict import Strict

LinearAlgebraTask = Literal["trace", "determinant", "transpose", "product", "rank", "inverse", "system"]
Template = Literal["auto", "chat", "text"]


class Dataset(Strict):
    """What every source of rows has."""

    template: Template = Field(
        "auto",
        description="how a plain `prompt` reaches the model: as a user message in its chat template, as text, "
        "or (auto) as a message if the tokenizer has a template",
    )


class LinearAlgebraData(Dataset):
    """Problems made exactly with sympy: chain of thought in <think>, result in <answer>.

    The same seed, tasks, size and difficulty give the same rows everywhere. Rows have `prompt`, `completion`
    (the worked solution), `answer` and `task`.
    """

    source: Literal["linear-algebra"] = "linear-algebra"
    tasks: list[LinearAlgebraTask] = Field(
        ["trace", "determinant"], min_length=1, description="kinds of problem, in equal shares"
    )
    size: int = Field(1000, ge=1, le=1_000_000, description="number of rows")
    seed: int = Field(0, ge=0, lt=2**31, description="which rows")
    dimension: int = Field(2, ge=1, le=5, description="rows and columns of the square matrices")
    max_entry: int = Field(9, ge=1, le=99, description="largest absolute value of an entry")
    negative: bool = Field(False, description="whether entries may be negative")
    style: Literal["symbolic", "prose"] = Field("prose", description="`det [[1,2],[3,4]]` or a sentence in English")


class FileData(Dataset):
    """Rows of an uploaded JSONL file."""

    source: str = Field(pattern=r"^file-[0-9A-Za-z]+$", description="the id of an uploaded file")
    limit: int | None = Field(None, ge=1, description="use only the first rows")


def _tag(value: Any) -> str:
    source = value.get("source", "linear-algebra") if isinstance(value, dict) else getattr(value, "source", "")
    return "file" if isinstance(source, str) and source.startswith("file-") else "linear-algebra"


AnyDataset = Annotated[
    Annotated[LinearAlgebraData, Tag("linear-algebra")] | Annotated[FileData, Tag("file")], Discriminator(_tag)
]
