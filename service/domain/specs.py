"""The job's spec: one document, JSON or YAML, the same for the API, the command line and the page.

The algorithms are in `algorithms.py`, named sets of fields in `presets/`.
"""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, model_validator

from hone.documents.validation import AtMost, ShortText, Strict, Tags, is_lenient, refusal
from service.domain import effects, presets
from service.domain.algorithms import DEFAULT_LEARNING_RATE, MAX_DEFAULT_CRITIC_RATE, Algorithm, PolicySpec, PPOSpec
from service.domain.datasets import AnyDataset, PlainDataset, RejectionSamplingData
from service.domain.rewards import AnyReward
from service.domain.tools import ToolsSpec

DEFAULT_STEPS = 100
MAX_STEPS = 10_000_000
JOB_MODEL = re.compile(r"^job:(?P<job>ftjob-[0-9A-Za-z]+)(@(?P<which>best|latest|step-\d+))?$")


class OptimizerSpec(Strict):
    """The optimizer and its learning-rate schedule."""

    type: Literal["adamw", "adamw_8bit", "muon"] = Field(
        "adamw", description="adamw_8bit needs a GPU and bitsandbytes; muon updates matrices by Muon, the rest by AdamW"
    )
    learning_rate: float | None = Field(
        None,
        gt=0,
        le=1,
        description="peak; null: 2e-5 for SFT, 1e-5 for reward models, 1e-6 for RL; ten times that with lora",
    )
    schedule: Literal["constant", "linear", "cosine", "wsd"] = Field(
        "cosine", description="shape after the warm-up; wsd: constant, then a decay over the last `decay_steps`"
    )
    warmup_steps: int = Field(0, ge=0, description="steps in which the learning rate grows linearly from 0")
    decay_steps: int | None = Field(None, ge=1, description="wsd only: steps of the decay; null: a tenth of the steps")
    min_learning_rate_ratio: float = Field(
        0.0, ge=0, le=1, description="learning rate after the decay, as a share of the peak"
    )
    weight_decay: float = Field(0.0, ge=0, le=1, description="decoupled weight decay, on matrices only")
    beta1: float = Field(0.9, ge=0, lt=1, description="decay of the gradient's running mean; with muon, its momentum")
    beta2: float = Field(0.999, ge=0, lt=1, description="decay of the squared gradient's running mean")
    epsilon: float = Field(1e-8, gt=0, le=1, description="added to the root of that mean")
    max_grad_norm: float | None = Field(
        1.0, gt=0, description="gradients are scaled down to this norm; null: not clipped"
    )


class LoRASpec(Strict):
    """Low-rank adapters instead of all weights (Hu et al. 2021, arXiv:2106.09685), by peft."""

    rank: int = Field(16, ge=1, le=1024, description="r, the width of the adapters")
    alpha: float = Field(32.0, gt=0, le=4096, description="the adapters' output is scaled by alpha / rank")
    use_rslora: bool = Field(False, description="scale by alpha / sqrt(rank) instead (arXiv:2312.03732)")
    target_modules: Annotated[list[ShortText], AtMost(64)] | None = Field(
        None, min_length=1, description="names of the layers that get adapters; null: all linear layers except the head"
    )
    modules_to_save: Annotated[list[ShortText], AtMost(64)] = Field(
        default_factory=list, description="names of layers that are trained as a whole, e.g. embed_tokens and lm_head"
    )


class EvaluationSpec(Strict):
    """When and how held-out prompts are answered and scored."""

    every: int | None = Field(None, ge=1, description="steps between evaluations; null: before the first and last step")
    max_completion_length: int | None = Field(
        None, ge=1, le=32_768, description="longest response in tokens; null: as in training, or 512"
    )
    batch_size: int = Field(64, ge=1, le=4096, description="prompts answered at once")
    num_generations: int = Field(1, ge=1, le=256, description="responses to each prompt (n of pass@k)")
    temperature: float = Field(0.0, ge=0, le=10, description="0: always the most likely token")
    top_p: float = Field(
        1.0, gt=0, le=1, description="sample only from the most likely tokens of this total probability"
    )
    top_k: int = Field(0, ge=0, description="sample only from this many most likely tokens; 0: from all")
    pass_at: list[int] = Field(
        default_factory=list, max_length=8, description="values of k for eval/pass@k; each at most num_generations"
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
    patience: int = Field(3, ge=1, description="evaluations in a row without a new best before the job ends")
    min_delta: float = Field(0.0, ge=0, description="improvement that makes a new best")


class CheckpointSpec(Strict):
    """When a checkpoint is written, and which checkpoints are retained."""

    every: int | None = Field(None, ge=1, description="steps between checkpoints; null: the last step only")
    keep_last: int = Field(2, ge=1, description="number of newest checkpoints that are retained")
    keep_best: str | None = Field(None, max_length=100, description="a metric whose best checkpoint is retained too")


class ExportSpec(Strict):
    """The weights of a checkpoint that are for others; training goes on with fp32."""

    dtype: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="dtype of the weights that are downloaded; auto: that of the model that the job starts from"
    )


class ResourcesSpec(Strict):
    """What a worker must have free to run the job."""

    gpus: int = Field(0, ge=0, le=8, description="devices; 0 runs on the CPU; values above 1 are not supported yet")
    gpu_memory_gb: float | None = Field(None, gt=0, description="memory that each GPU must have; null: any GPU")
    share_gpu: bool = Field(
        False, description="share GPUs with other jobs that set it too, as long as their gpu_memory_gb fit together"
    )
    memory_gb: float | None = Field(None, gt=0, description="host memory that must be free; null: not checked")

    @model_validator(mode="after")
    def _check_sharing(self) -> Self:
        if self.share_gpu and not (self.gpus and self.gpu_memory_gb):
            raise refusal("share_gpu", "needs gpus and gpu_memory_gb, so that jobs on one device fit", True)
        return self


class JobSpec(Strict):
    """A whole job."""

    name: str | None = Field(None, min_length=1, max_length=200, description="a name for people to read")
    algorithm: Algorithm = Field(description="the algorithm; `type` or `preset` selects it")
    model: str = Field(
        "tiny",
        min_length=1,
        max_length=500,
        description="tiny, job:ID[@best|@latest|@step-N], a Hub id, or a directory",
    )
    resize_embeddings: bool = Field(
        False,
        description="add a row to the embedding for each token of the tokenizer that has none; else it is refused",
    )
    dataset: AnyDataset = Field(description="the rows to train on; `source` selects where they come from")
    eval_dataset: PlainDataset | None = Field(None, description="held-out rows; null: no evaluation")
    max_invalid_rewards: float = Field(
        0.5,
        ge=0,
        le=1,
        description="largest share of the responses of a step or an evaluation that rewards may fail to judge; beyond "
        "it, or if all fail, the job fails. Nothing is learned of responses that were not judged",
    )
    rewards: list[AnyReward] = Field(
        default_factory=list,
        max_length=16,
        description="what training maximises and evaluation measures; the first rule-based one gives `eval/accuracy`",
    )
    tools: ToolsSpec | None = Field(
        None, description="tools that responses may call, in training and in evaluation; null: none"
    )
    optimizer: OptimizerSpec = Field(default_factory=OptimizerSpec)
    lora: LoRASpec | None = Field(None, description="train low-rank adapters; null: train all weights")
    evaluation: EvaluationSpec = Field(default_factory=EvaluationSpec)
    early_stopping: EarlyStoppingSpec | None = Field(None, description="end before the last step; null: never")
    checkpoint: CheckpointSpec = Field(default_factory=CheckpointSpec)
    export: ExportSpec = Field(default_factory=ExportSpec)
    resources: ResourcesSpec = Field(default_factory=ResourcesSpec)
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="precision of the arithmetic; weights stay fp32. auto: bf16 on a GPU that has it, else fp32"
    )
    micro_batch_tokens: int = Field(
        8192, ge=64, description="largest number of tokens in one forward pass, padding included; less saves memory"
    )
    rollout_batch_size: int | None = Field(None, ge=1, description="responses decoded at once; null: all of a step")
    packing: bool = Field(
        True,
        description="lay sequences end to end instead of padding them, if the model allows it; losses are the same",
    )
    gradient_checkpointing: bool = Field(
        False, description="recompute activations in the backward pass: less memory, about a third more time"
    )
    samples_per_step: int = Field(4, ge=0, le=64, description="responses recorded in each step, for people to read")
    steps: int | None = Field(
        None,
        ge=1,
        le=MAX_STEPS,
        description="training steps: batches of rows or, with rewards, batches of responses; null: 100, or by `epochs`",
    )
    epochs: float | None = Field(
        None, gt=0, le=10_000, description="passes over the rows, in place of `steps`, which are counted at the start"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the data order, the sampling and new weights")
    priority: int = Field(0, ge=-100, le=100, description="higher runs first")
    max_seconds: float | None = Field(
        None, gt=0, description="limit of the running time of all attempts together; null: none"
    )
    max_restarts: int = Field(
        5, ge=0, le=100, description="how often a lost attempt is repeated without a new checkpoint in between"
    )
    depends_on: list[ShortText] = Field(
        default_factory=list, max_length=64, description="jobs that must succeed before this one starts"
    )
    tags: Tags = Field(default_factory=dict, max_length=16, description="labels to find the job by")

    @model_validator(mode="before")
    @classmethod
    def _accept_null_blocks(cls, data: Any, info: ValidationInfo) -> Any:
        """Null blocks mean the defaults: a YAML block with all its lines commented out is null.

        A stored spec already has the fields of its preset; the preset of this version must not change them.
        """
        if not isinstance(data, dict):
            return data
        blocks = ("optimizer", "evaluation", "checkpoint", "export", "resources", "tags", "depends_on", "rewards")
        given = {key: value for key, value in data.items() if not (key in blocks and value is None)}
        return given if is_lenient(info) else presets.expand(given)

    @model_validator(mode="after")
    def _fill_in_and_check(self) -> Self:
        kind = self.algorithm.type
        if kind not in ("sft", "reward_model") and not self.rewards:
            raise refusal("rewards", f"{kind} needs at least one reward, e.g. {{type: math}}", self.rewards)
        if kind == "reward_model" and self.rewards:
            message = "are for responses, but reward_model learns from pairs; leave them out"
            raise refusal("rewards", message, self.rewards)
        if isinstance(self.dataset, RejectionSamplingData):
            self._check_rejection_sampling()
        self._check_weights()
        self._check_length()
        self._check_tools()
        if self.early_stopping and (self.eval_dataset is None or self.evaluation.every is None):
            name = "evaluation.every" if self.eval_dataset else "eval_dataset"
            raise refusal(name, "is needed by early_stopping; set it", None)
        if self.optimizer.learning_rate is None:
            rate = DEFAULT_LEARNING_RATE.get(kind, 1e-6)
            self.optimizer.learning_rate = round(10 * rate, 12) if self.lora else rate
        if isinstance(self.algorithm, PPOSpec) and self.algorithm.critic_learning_rate is None:
            rate = self.optimizer.learning_rate
            faster = rate if self.lora else min(round(10 * rate, 12), MAX_DEFAULT_CRITIC_RATE)
            self.algorithm.critic_learning_rate = max(rate, faster)
        self.depends_on += [job for job in self.parent_jobs if job not in self.depends_on]
        return self

    @model_validator(mode="after")
    def _refuse_fields_without_effect(self, info: ValidationInfo) -> Self:
        """Requests only: a job of a stored spec may run, and nobody is there to correct it."""
        if not is_lenient(info):
            effects.refuse_without_effect(self)
        return self

    def _check_weights(self) -> None:
        """Of rewards that are to teach, or to select answers, one at least counts."""
        shaping = any(getattr(self.algorithm, name, 0) for name in ("overlong_buffer", "length_penalty"))
        teaches = isinstance(self.algorithm, PolicySpec) or isinstance(self.dataset, RejectionSamplingData)
        if teaches and not shaping and not any(reward.weight for reward in self.rewards):
            message = "is 0 for every reward, so that each response earns 0 and nothing is learned; give one a weight"
            raise refusal("rewards.0.weight", message, 0.0)

    def _check_length(self) -> None:
        """A job has steps or epochs."""
        if self.epochs is None:
            self.steps = self.steps or DEFAULT_STEPS
            return
        if self.steps is not None:
            message = (
                f"is {self.epochs:g}, but steps is {self.steps}: both say when the job ends; leave one of them out"
            )
            raise refusal("epochs", message, self.epochs)
        order = getattr(self.algorithm, "prompt_sampling", None)
        if order is not None:
            message = f"counts passes over the rows, but prompt_sampling {order.type} draws some more often; give steps"
            raise refusal("epochs", message, self.epochs)

    def _check_rejection_sampling(self) -> None:
        if self.algorithm.type != "sft":
            message = f"rejection-sampling is for sft; {self.algorithm.type} samples by itself, give it the prompts"
            raise refusal("dataset.source", message, "rejection-sampling")
        if not self.rewards:
            raise refusal("rewards", "rejection-sampling needs a reward that selects the answers", self.rewards)

    def _check_tools(self) -> None:
        if self.tools is None:
            wrong = [index for index, reward in enumerate(self.rewards) if reward.type == "tool_use"]
            if wrong:
                message = "scores tool calls, but the job has no tools; set tools: {}, or leave it out"
                raise refusal(f"rewards.{wrong[0]}.type", message, "tool_use")
            return
        tools = self.tools.model_dump()
        if self.algorithm.type == "reward_model":
            raise refusal("tools", "are for responses, but reward_model learns from pairs; leave them out", tools)
        if isinstance(self.dataset, RejectionSamplingData):
            message = "cannot be used in rejection-sampling; leave them out, or use a dataset whose rows have tools"
            raise refusal("tools", message, tools)
        if length := getattr(self.algorithm, "partial_rollout_length", None):
            message = "responses with tools grow by turns, not by a number of tokens; set it to null, or tools"
            raise refusal("algorithm.partial_rollout_length", message, length)

    @property
    def models(self) -> dict[str, str]:
        """The models that the job reads, by the field that names each."""
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
        """Ids of the jobs whose checkpoints this job reads, each once."""
        matches = [JOB_MODEL.match(name) for name in self.models.values()]
        return list(dict.fromkeys(match["job"] for match in matches if match))

    @property
    def datasets(self) -> dict[str, AnyDataset]:
        """The datasets that the job reads, by field."""
        named: dict[str, AnyDataset | None] = {"dataset": self.dataset, "eval_dataset": self.eval_dataset}
        if isinstance(self.dataset, RejectionSamplingData):
            named["dataset.prompts"] = self.dataset.prompts
        if isinstance(self.algorithm, PPOSpec) and self.algorithm.ptx:
            named["algorithm.ptx.dataset"] = self.algorithm.ptx.dataset
        return {field: data for field, data in named.items() if data is not None}
