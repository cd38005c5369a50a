"""The tools that a policy may call while it answers: their names, their schemas, and how often."""

from typing import Any, Literal, get_args

from pydantic import Field

from service.domain.strict import Strict

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
    """Responses in turns: the policy writes a call, a tool answers it, and the policy goes on.

    A call is `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, one a turn. What tools answer is read, and
    counts as part of the response, but nothing of it is learned. Tools of your own are not possible: they would be code
    that runs on the workers.
    """

    functions: list[ToolName] = Field(
        default_factory=lambda: list(get_args(ToolName)), min_length=1, description="which tools; all are exact"
    )
    max_turns: int = Field(5, ge=1, le=64, description="most calls of a response that are answered")
    max_result_length: int = Field(256, ge=8, le=8192, description="tokens of an answer; a longer one is cut")


def schemas(spec: ToolsSpec | None) -> list[dict[str, Any]] | None:
    """The tools as JSON schemas, in the form that chat templates and OpenAI's API know."""
    return [_schema(name) for name in dict.fromkeys(spec.functions)] if spec else None


def _schema(name: ToolName) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"matrix": MATRIX}, "required": ["matrix"]}
    function = {"name": name, "description": DESCRIPTIONS[name], "parameters": parameters}
    return {"type": "function", "function": function}
