"""The shapes of rows that each dataset of a spec needs, and the columns of held-out questions."""

from service.domain.algorithms import PolicySpec
from service.domain.rewards import asked_columns
from service.domain.shapes import Shape
from service.domain.specs import JobSpec

LEARNED: list[Shape] = ["prompt+completion", "messages", "text"]
"""Rows whose text is learned."""
PAIRS: list[Shape] = ["chosen+rejected"]
CHECKED: list[Shape] = ["prompt+answer"]
"""Rows whose responses are compared with an answer."""
PROMPTED: list[Shape] = ["prompt+answer", "prompt", "prompt+completion"]
"""Rows with a prompt, for rewards that read no answer."""


def needed_shapes(field: str, spec: JobSpec) -> list[Shape]:
    """The shapes of which a dataset must have one; `field` names the dataset as `JobSpec.datasets` does."""
    asked = CHECKED if "answer" in asked_columns(spec.rewards) else PROMPTED
    if field == "dataset.prompts" or (isinstance(spec.algorithm, PolicySpec) and field in ("dataset", "eval_dataset")):
        return asked
    if spec.algorithm.type == "reward_model":
        return PAIRS
    return [*CHECKED, *LEARNED] if field == "eval_dataset" else LEARNED


def question_columns(spec: JobSpec) -> tuple[str, ...]:
    """What a held-out row must have to be answered. In SFT a row without an answer is learned, and not asked."""
    return asked_columns(spec.rewards) if isinstance(spec.algorithm, PolicySpec) else ("prompt", "answer")
