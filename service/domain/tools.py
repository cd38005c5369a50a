"""The tools that responses may call: names, schemas and limits."""

from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from hone.documents.validation import AtMost, Strict

ToolName = Literal[
    "matrix_transpose", "matrix_cofactor", "determinant", "frobenius_norm", "matrix_rank", "matrix_trace"
]
DESCRIPTIONS: dict[ToolName, str] = {
    "matrix_transpose": "Transpose a matrix.",
    "matrix_cofactor": "The matrix of cofactors of a square matrix.",
    "determinant": "The determinant of a square matrix.",
    "frobenius_norm": "The Frobenius norm of a matrix: the root of the sum of its squared entries.",
    "matrix_rank": "The rank of a matrix.",
    "matrix_trace": "The trace of a square matrix: the sum of its diagonal.",
}
MATRIX = {
    "type": "array",
    "items": {"type": "array", "items": {"type": "number"}},
    "description": "The rows of the matrix.",
}


class ToolsSpec(Strict):
    """Responses in turns: the policy writes a call, the tool's result is appended, and the policy continues.

    A call is `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, one per turn. Results count as part of the
    response and are never learned. Tools of your own are not supported: they would be code that runs on the workers.
    """

    functions: Annotated[list[ToolName], AtMost(64)] = Field(
        default_factory=lambda: list(get_args(ToolName)),
        min_length=1,
        description="tools that may be called; all are exact",
    )
    max_turns: int = Field(5, ge=1, le=64, description="largest number of calls in a response")
    max_turn_length: int | None = Field(
        None,
        ge=1,
        le=32_768,
        description="longest turn in tokens; a longer one is cut off, and the response with it; null: only the "
        "response has a limit",
    )
    malformed_call: Literal["reply", "end"] = Field(
        "reply",
        description="what follows a call that is no JSON or names no tool of the job: its error as the result, or the "
        "end of the response. Errors of the tool itself are always replied",
    )
    max_result_length: int = Field(256, ge=8, le=8192, description="longest result in tokens; a longer one is cut off")


def schemas(spec: ToolsSpec | None) -> list[dict[str, Any]] | None:
    """The tools as JSON schemas, in the form that chat templates and OpenAI's API know."""
    return [_schema(name) for name in dict.fromkeys(spec.functions)] if spec else None


def _schema(name: ToolName) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"matrix": MATRIX}, "required": ["matrix"]}
    function = {"name": name, "description": DESCRIPTIONS[name], "parameters": parameters}
    return {"type": "function", "function": function}
