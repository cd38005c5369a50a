"""The job's spec: one document, JSON or YAML, the same for the API, the command line and the page.

The algorithms are in `algorithms.py`, named sets of fields in `presets.py`.
"""

import re
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from service.domain import presets
from service.domain.algorithms import DEFAULT_LEARNING_RATE, Algorithm, PPOSpec
from service.domain.datasets import AnyDataset, PlainDataset, RejectionSamplingData
from service.domain.rewards import AnyReward
from service.domain.strict import Strict, refusal
from service.domain.tools import ToolsSpec

JOB_MODEL = re.compile(r"^job:(?P<job>ftjob-[0-9A-Za-z]+)(@(?P<which>best|latest|step-\d+))?$")


class OptimizerSpec(Strict):
    """What moves the weights, and its schedule."""

    type: Literal["adamw", "adamw_8bit", "muon"] = Field(
        "adamw", description="adamw_8bit needs a GPU and bitsandbytes; muon moves matrices, AdamW the rest"
    )
    learning_rate: float | None = Field(
        None,
        gt=0,
        le=1,
        description="peak; null: 2e-5 for SFT, 1e-5 for reward models, 1e-6 for RL; ten times with lora",
    )
    schedule: Literal["constant", "linear", "cosine", "wsd"] = Field(
        "cosine", description="after the warm-up; wsd: constant, then a fall over the last `decay_steps`"
    )
    warmup_steps: int = Field(0, ge=0, description="steps of linear growth from 0")
    decay_steps: int | None = Field(None, ge=1, description="of wsd: length of the fall; null: a tenth of the steps")
    min_learning_rate_ratio: float = Field(0.0, ge=0, le=1, description="share of the peak at which the fall ends")
    weight_decay: float = Field(0.0, ge=0, le=1, description="decoupled, on matrices only")
    beta1: float = Field(0.9, ge=0, lt=1, description="decay of the mean of the gradient; of muon its momentum")
    beta2: float = Field(0.999, ge=0, lt=1, description="decay of the mean of its square")
    epsilon: float = Field(1e-8, gt=0, le=1, description="added to the root of that")
    max_grad_norm: float | None = Field(1.0, gt=0, description="gradients are scaled down to this norm; null: never")


class LoRASpec(Strict):
    """Low-rank adapters instead of all weights (Hu et al. 2021, arXiv:2106.09685), by peft."""

    rank: int = Field(16, ge=1, le=1024, description="r, the width of the adapters")
    alpha: float = Field(32.0, gt=0, le=4096, description="the adapters' output is scaled by alpha / rank")
    use_rslora: bool = Field(False, description="scale by alpha / sqrt(rank) instead (arXiv:2312.03732)")
    target_modules: list[str] | None = Field(
        None, min_length=1, description="names of the layers that get adapters; null: all linear ones but the head"
    )
    modules_to_save: list[str] = Field(
        default_factory=list, description="names of layers that are trained whole, e.g. embed_tokens and lm_head"
    )


class EvaluationSpec(Strict):
    """When and how the held-out rows are answered and scored."""

    every: int | None = Field(None, ge=1, description="steps between evaluations; null: before the first and last step")
    max_completion_length: int | None = Field(None, ge=1, le=32_768, description="tokens; null: as in training, or 512")
    batch_size: int = Field(64, ge=1, le=4096, description="prompts answered at once")
    num_generations: int = Field(1, ge=1, le=256, description="responses to each prompt (n of pass@k)")
    temperature: float = Field(0.0, ge=0, le=10, description="0: the likeliest token, always")
    top_p: float = Field(1.0, gt=0, le=1, description="sample only from the likeliest tokens of this total probability")
    top_k: int = Field(0, ge=0, description="sample only from this many likeliest tokens; 0: from all")
    pass_at: list[int] = Field(
        default_factory=list, max_length=8, description="k of eval/pass@k; each at most num_generations"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.num_generations > 1 and self.temperature == 0:
            raise refusal("temperature", "is 0, so all num_generations responses would be equal; raise it", 0)
        wrong = [k for k in self.pass_at if not 1 <= k <= self.num_generations]
        if wrong:
            message = f"must be from 1 to num_generations ({self.num_generations}), but has {wrong[0]}"
            raise refusal("pass_at", message, self.pass_at)
        return self


class EarlyStoppingSpec(Strict):
    """An end before the last step."""

    metric: str = Field("eval/accuracy", min_length=1, max_length=100, description="a metric of the evaluation")
    patience: int = Field(3, ge=1, description="evaluations in a row without a new best after which the job ends")
    min_delta: float = Field(0.0, ge=0, description="by how much a new best must be better")


class CheckpointSpec(Strict):
    """When a checkpoint is written, and which ones stay."""

    every: int | None = Field(None, ge=1, description="steps between checkpoints; null: the last step only")
    keep_last: int = Field(2, ge=1, description="how many of the newest stay")
    keep_best: str | None = Field(None, max_length=100, description="a metric whose best checkpoint stays too")


class ResourcesSpec(Strict):
    """What a worker must have free to run the job."""

    gpus: int = Field(0, ge=0, le=8, description="devices; 0 runs on the CPU")
    gpu_memory_gb: float | None = Field(None, gt=0, description="that each device must have; null: any device")
    share_gpu: bool = Field(
        False, description="run beside other jobs that share, on devices whose memory holds all their gpu_memory_gb"
    )
    memory_gb: float | None = Field(None, gt=0, description="of the host, that must be free; null: not looked at")

    @model_validator(mode="after")
    def _say_how_much(self) -> Self:
        if self.share_gpu and not (self.gpus and self.gpu_memory_gb):
            raise refusal("share_gpu", "needs gpus and gpu_memory_gb, so that what shares a device fits", True)
        return self


class JobSpec(Strict):
    """A whole job."""

    name: str | None = Field(None, min_length=1, max_length=200, description="for people")
    algorithm: Algorithm
    model: str = Field(
        "tiny",
        min_length=1,
        max_length=500,
        description="tiny | job:ID[@best|@latest|@step-N] | a Hub id | a directory",
    )
    dataset: AnyDataset
    eval_dataset: PlainDataset | None = Field(None, description="held-out rows; null: no evaluation")
    rewards: list[AnyReward] = Field(
        default_factory=list,
        max_length=16,
        description="what is to be maximised, and how evaluation scores; the first rule decides `eval/accuracy`",
    )
    tools: ToolsSpec | None = Field(
        None, description="what may be called in responses, in training and in evaluation; null: nothing"
    )
    optimizer: OptimizerSpec = Field(default_factory=OptimizerSpec)
    lora: LoRASpec | None = Field(None, description="train low-rank adapters; null: all weights")
    evaluation: EvaluationSpec = Field(default_factory=EvaluationSpec)
    early_stopping: EarlyStoppingSpec | None = Field(None, description="null: all steps are done")
    checkpoint: CheckpointSpec = Field(default_factory=CheckpointSpec)
    resources: ResourcesSpec = Field(default_factory=ResourcesSpec)
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="of the arithmetic; the weights stay fp32. auto: bf16 on a GPU that has it, else fp32"
    )
    micro_batch_tokens: int = Field(8192, ge=64, description="most tokens, padding included, in one forward pass")
    rollout_batch_size: int | None = Field(None, ge=1, description="responses decoded at once; null: all of a step")
    packing: bool = Field(
        True,
        description="lay sequences end to end instead of padding them, where the model allows; losses are the same",
    )
    gradient_checkpointing: bool = Field(
        False, description="compute activations again in the backward pass: less memory, a third more time"
    )
    samples_per_step: int = Field(4, ge=0, le=64, description="responses recorded each step, for people to read")
    steps: int = Field(100, ge=1, le=10_000_000, description="updates; with rewards, batches of responses")
    seed: int = Field(0, ge=0, lt=2**31, description="of the data order, the sampling and new weights")
    priority: int = Field(0, ge=-100, le=100, description="higher runs first")
    max_seconds: float | None = Field(None, gt=0, description="running time, of all attempts together; null: no limit")
    max_restarts: int = Field(5, ge=0, le=100, description="how often a lost attempt is repeated")
    depends_on: list[str] = Field(default_factory=list, max_length=64, description="jobs that must succeed first")
    tags: dict[str, str] = Field(default_factory=dict, max_length=16, description="for finding it again")

    @model_validator(mode="before")
    @classmethod
    def _accept_null_blocks(cls, data: Any) -> Any:
        """A YAML block with all its lines commented out is null: it means the defaults."""
        if not isinstance(data, dict):
            return data
        blocks = ("optimizer", "evaluation", "checkpoint", "resources", "tags", "depends_on", "rewards")
        return presets.expand({key: value for key, value in data.items() if not (key in blocks and value is None)})

    @model_validator(mode="after")
    def _make_whole(self) -> Self:
        kind = self.algorithm.type
        if kind not in ("sft", "reward_model") and not self.rewards:
            raise refusal("rewards", f"{kind} needs at least one reward, e.g. {{type: math}}", self.rewards)
        if kind == "reward_model" and self.rewards:
            message = "are for responses, but reward_model learns from pairs; leave them out"
            raise refusal("rewards", message, self.rewards)
        if isinstance(self.dataset, RejectionSamplingData):
            self._check_rejection_sampling()
        self._check_tools()
        if self.early_stopping and (self.eval_dataset is None or self.evaluation.every is None):
            name = "evaluation.every" if self.eval_dataset else "eval_dataset"
            raise refusal(name, "is needed by early_stopping; set it", None)
        if self.optimizer.learning_rate is None:
            rate = DEFAULT_LEARNING_RATE.get(kind, 1e-6)
            self.optimizer.learning_rate = round(10 * rate, 12) if self.lora else rate
        self.depends_on += [job for job in self.parent_jobs if job not in self.depends_on]
        return self

    def _check_rejection_sampling(self) -> None:
        if self.algorithm.type != "sft":
            message = f"rejection-sampling is for sft; {self.algorithm.type} samples by itself, give it the prompts"
            raise refusal("dataset.source", message, "rejection-sampling")
        if not self.rewards:
            raise refusal("rewards", "rejection-sampling needs a reward that says what is right", self.rewards)

    def _check_tools(self) -> None:
        if self.tools is None:
            wrong = [index for index, reward in enumerate(self.rewards) if reward.type == "tool_use"]
            if wrong:
                message = "judges calls of tools, of which the job has none; set tools: {}, or leave it out"
                raise refusal(f"rewards.{wrong[0]}.type", message, "tool_use")
            return
        tools = self.tools.model_dump()
        if self.algorithm.type == "reward_model":
            raise refusal("tools", "are for responses, but reward_model learns from pairs; leave them out", tools)
        if isinstance(self.dataset, RejectionSamplingData):
            message = "cannot be used in rejection-sampling; leave them out, or take rows with tools for the dataset"
            raise refusal("tools", message, tools)
        if length := getattr(self.algorithm, "partial_rollout_length", None):
            message = "responses with tools grow by turns, not by a number of tokens; set it to null, or tools"
            raise refusal("algorithm.partial_rollout_length", message, length)

    @property
    def models(self) -> dict[str, str]:
        """Every model that the job reads, by the field that names it."""
        named = {"model": self.model}
        if isinstance(self.algorithm, PPOSpec) and self.algorithm.critic_model:
            named["algorithm.critic_model"] = self.algorithm.critic_model
        if isinstance(self.dataset, RejectionSamplingData):
            named["dataset.model"] = self.dataset.model
        scorers = {
            f"rewards.{index}.model": getattr(reward, "model", None) for index, reward in enumerate(self.rewards)
        }
        return named | {field: name for field, name in scorers.items() if name}

    @property
    def parent_jobs(self) -> list[str]:
        """The jobs whose checkpoints this one reads, each once."""
        matches = [JOB_MODEL.match(name) for name in self.models.values()]
        return list(dict.fromkeys(match["job"] for match in matches if match))

    @property
    def datasets(self) -> dict[str, AnyDataset]:
        """Every dataset that the job reads, by its field."""
        named: dict[str, AnyDataset | None] = {"dataset": self.dataset, "eval_dataset": self.eval_dataset}
        if isinstance(self.dataset, RejectionSamplingData):
            named["dataset.prompts"] = self.dataset.prompts
        if isinstance(self.algorithm, PPOSpec) and self.algorithm.ptx:
            named["algorithm.ptx.dataset"] = self.algorithm.ptx.dataset
        return {field: data for field, data in named.items() if data is not None}
