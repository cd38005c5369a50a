"""The specs of the algorithms that learn from given texts, and the fields of every algorithm."""

from typing import Literal

from pydantic import Field

from hone.documents.validation import Strict
from service.domain.datasets import PlainDataset

SFTAggregation = Literal["token_mean", "seq_mean", "seq_sum"]
Truncation = Literal["end", "start", "drop", "refuse"]


class Block(Strict):
    """Fields of every algorithm."""

    preset: str | None = Field(
        None, max_length=100, description="a named set of fields; fields that the spec sets itself win"
    )


class Supervised(Block):
    """Fields of the algorithms that learn from given texts."""

    max_length: int = Field(
        1024, ge=8, le=131_072, description="longest sequence in tokens; `truncation` handles longer ones"
    )
    truncation: Truncation = Field(
        "end", description="longer rows lose their end, lose their start, are dropped, or fail the job"
    )


class SFTSpec(Supervised):
    """Supervised fine-tuning: the likelihood of the completions, prompts masked."""

    type: Literal["sft"] = "sft"
    batch_size: int = Field(32, ge=1, le=4096, description="sequences per step")
    loss_on: Literal["completion", "assistant", "all"] = Field(
        "completion", description="tokens to learn: the last answer, every assistant turn, or all"
    )
    loss_aggregation: SFTAggregation = Field(
        "token_mean", description="how token losses are combined into one number; `seq_sum` is the textbook form"
    )


class RewardModelSpec(Supervised):
    """A reward model from preference pairs (Bradley-Terry; Ouyang et al. 2022, arXiv:2203.02155, equation 1)."""

    type: Literal["reward_model"] = "reward_model"
    batch_size: int = Field(32, ge=1, le=4096, description="pairs per step")
    margin: float = Field(0.0, ge=0, description="how far apart the two scores should be; a row's own `margin` wins")
    center_rewards_coefficient: float = Field(
        0.0, ge=0, le=10, description="weight of (r_chosen + r_rejected)^2, which keeps scores near 0"
    )


class PTXSpec(Strict):
    """PPO-ptx (arXiv:2203.02155, equation 2): the likelihood of given texts, in addition to the reward."""

    dataset: PlainDataset = Field(description="rows as for SFT")
    coef: float = Field(27.8, gt=0, le=1000, description="weight of the mean token log-likelihood (gamma in the paper)")
    batch_size: int = Field(8, ge=1, le=4096, description="sequences per update")
    loss_on: Literal["completion", "assistant", "all"] = Field("all", description="tokens whose likelihood is raised")
