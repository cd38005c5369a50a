"""The order in which prompts are drawn: by difficulty, by success, or by both."""

from typing import Annotated, Literal

from pydantic import Field

from hone.documents.validation import ShortText, Strict


class PrioritizedSpec(Strict):
    """Prompts drawn in proportion to 1 - success rate (Kimi k1.5, arXiv:2501.12599, section 2.3.4)."""

    type: Literal["prioritized"] = "prioritized"
    floor: float = Field(
        0.05, gt=0, le=1, description="smallest weight, so that solved prompts are still drawn now and then"
    )
    decay: float = Field(0.5, ge=0, lt=1, description="weight of the old success rate when a prompt is seen again")


class Curriculum(Strict):
    """Fields of all curricula."""

    column: ShortText = Field(
        "difficulty", min_length=1, description="column with a number in each row; smaller is easier"
    )
    prioritized: PrioritizedSpec | None = Field(
        None,
        description="draw those that still go wrong more often, among the prompts of like difficulty; null: evenly",
    )


class CurriculumSpec(Curriculum):
    """Easy prompts first: prompts are sorted by a column, and the share that may be drawn grows to all of them."""

    type: Literal["curriculum"] = "curriculum"
    start: float = Field(
        0.2, gt=0, le=1, description="share of the prompts, the easiest ones, that the first step draws from"
    )
    steps: int = Field(100, ge=1, description="steps until all prompts may be drawn")


class GaussianCurriculumSpec(Curriculum):
    """Prompts around a difficulty that rises: the share of each level is a Gaussian of its distance (LinAlgZero)."""

    type: Literal["gaussian"] = "gaussian"
    sigma: float = Field(0.5, gt=0, le=1000, description="width of the Gaussian, in units of the column")
    easiest_share: float = Field(
        0.1, ge=0, lt=1, description="smallest share of the easiest level, so that it is not forgotten"
    )
    steps: int = Field(100, ge=1, description="steps until the Gaussian stands at the hardest level")


PromptSampling = Annotated[
    CurriculumSpec | GaussianCurriculumSpec | PrioritizedSpec,
    Field(discriminator="type"),
]
