from typing import Any

import pytest
from pydantic import ValidationError

from service.domain.specs import JobSpec

DATA = {"source": "linear-algebra"}
GRPO = {"algorithm": {"type": "grpo"}, "dataset": DATA, "rewards": [{"type": "math"}]}


def test_all_tools_may_be_called_five_times_unless_the_spec_says_otherwise() -> None:
    tools = JobSpec.model_validate(GRPO | {"tools": {}}).tools
    assert tools and tools.max_turns == 5 and len(tools.functions) == 6
    assert JobSpec.model_validate(GRPO).tools is None


REJECTION = {
    "algorithm": {"type": "sft"},
    "dataset": {"source": "rejection-sampling", "model": "tiny", "prompts": DATA},
    "rewards": [{"type": "math"}],
    "tools": {},
}


@pytest.mark.parametrize(
    ("document", "field", "reason"),
    [
        (GRPO | {"tools": {"functions": ["det"]}}, ("tools", "functions", 0), "determinant"),
        (GRPO | {"tools": {"functions": []}}, ("tools", "functions"), "at least 1"),
        (
            GRPO | {"tools": {}, "algorithm": {"type": "grpo", "partial_rollout_length": 8}},
            ("algorithm", "partial_rollout_length"),
            "grow by turns",
        ),
        ({"algorithm": {"type": "reward_model"}, "dataset": DATA, "tools": {}}, ("tools",), "leave them out"),
        (REJECTION, ("tools",), "rejection-sampling"),
        (GRPO | {"rewards": [{"type": "tool_use"}]}, ("rewards", "0", "type"), "set tools"),
        (GRPO | {"dataset": DATA | {"max_calls": 2}}, ("dataset", "linear-algebra", "max_calls"), "set tools to true"),
        (
            GRPO | {"dataset": DATA | {"tools": True, "tasks": ["inverse"]}},
            ("dataset", "linear-algebra", "tasks"),
            "which no tool solves",
        ),
    ],
)
def test_what_cannot_be_done_with_tools_is_refused(
    document: dict[str, Any], field: tuple[Any, ...], reason: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        JobSpec.model_validate(document)
    (error,) = refused.value.errors()
    assert error["loc"] == field and reason in error["msg"]
