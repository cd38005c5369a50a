"""The built-in problems solved by calls of tools: `det cof T [[1,2],[3,4]]` takes three.

Row i is a function of its number and the spec without `size`; both styles have the same problems.
"""

import json
from random import Random
from typing import Any

from service.domain.datasets import TOOL_TASKS, LinearAlgebraData
from service.domain.tools import ToolName, ToolsSpec, schemas
from worker.training.data.linear_algebra.chains import show
from worker.training.data.linear_algebra.problems import INTEGER, MATRIX, Draw
from worker.training.tools import functions
from worker.training.tools.tags import CALL, CALL_END

STEPS: tuple[ToolName, ...] = ("matrix_transpose", "matrix_cofactor")
"""What may be done to a matrix before the last call."""
VERBS: dict[ToolName, str] = {
    "matrix_trace": "trace",
    "determinant": "det",
    "matrix_transpose": "T",
    "matrix_rank": "rank",
    "matrix_cofactor": "cof",
}
NOUNS: dict[ToolName, str] = {
    "matrix_trace": "trace",
    "determinant": "determinant",
    "matrix_transpose": "transpose",
    "matrix_rank": "rank",
    "matrix_cofactor": "matrix of cofactors",
}
Message = dict[str, Any]


def rows(spec: LinearAlgebraData) -> list[dict[str, Any]]:
    """All rows of a spec: `prompt`, `completion` (messages), `answer`, `task`, `difficulty` (calls) and `tools`."""
    tools = schemas(ToolsSpec())
    return [_row(spec, i) | {"tools": tools} for i in range(spec.size)]


def _row(spec: LinearAlgebraData, i: int) -> dict[str, Any]:
    task = spec.tasks[i % len(spec.tasks)]
    seed = f"tools/{spec.seed}/{i}/{task}/{spec.dimension}/{spec.max_entry}/{spec.negative}/{spec.max_calls}"
    draw = Draw(spec, Random(seed))
    matrix = draw.of_any_rank() if task == "rank" else draw.matrix()
    calls = [STEPS[draw.below(len(STEPS))] for _ in range(draw.below(spec.max_calls))] + [TOOL_TASKS[task]]
    symbolic = spec.style == "symbolic"
    messages, answer = _solved(matrix, calls, symbolic=symbolic)
    prompt = _symbolic(matrix, calls) if symbolic else _prose(matrix, calls)
    return {"prompt": prompt, "completion": messages, "answer": answer, "task": task, "difficulty": len(calls)}


def _solved(matrix: list[list[int]], calls: list[ToolName], *, symbolic: bool) -> tuple[list[Message], str]:
    """The conversation that follows the question, and the result: each call is made with what the last one gave."""
    messages, current = [], json.dumps(matrix)
    for name in calls:
        argument = json.loads(current)
        messages.append(_calling(name, argument, VERBS[name] if symbolic else f"The {NOUNS[name]} is needed."))
        current = functions.FUNCTIONS[name](functions.exact(argument))
        messages.append({"role": "tool", "name": name, "content": current})
    thought = current if symbolic else f"The result is {current}."
    messages.append({"role": "assistant", "content": f"<think>{thought}</think><answer>{current}</answer>"})
    return messages, current


def _calling(name: ToolName, matrix: list[list[int]], thought: str) -> Message:
    call = {"type": "function", "function": {"name": name, "arguments": {"matrix": matrix}}}
    return {"role": "assistant", "content": f"<think>{thought}</think>", "tool_calls": [call]}


def _symbolic(matrix: list[list[int]], calls: list[ToolName]) -> str:
    """The last call first, as functions are written."""
    return " ".join([*(VERBS[name] for name in reversed(calls)), show(matrix).replace(" ", "")])


def _prose(matrix: list[list[int]], calls: list[ToolName]) -> str:
    nested = " of the ".join(NOUNS[name] for name in reversed(calls))
    form = MATRIX if calls[-1] == "matrix_transpose" else INTEGER
    return (
        f"What is the {nested} of the matrix {show(matrix)}? Call the tools, one at a time: reason between <think> and "
        f"</think>, then write a call as JSON between {CALL} and {CALL_END}. When you know the result, reason again, "
        f"then write only the result, {form}, between <answer> and </answer>."
    )
