"""GRPO from top to bottom, with Hone's own objective, decoder and data: `python -m examples.grpo_in_100_lines`.

It ends in the same weights, bit for bit, as the job `job()` below: a job adds what a service needs (checkpoints,
events, killable rewards, smaller pieces when memory runs out), and no arithmetic. docs/one-grpo-step.md walks through
the numbers that it prints. Shapes: P prompts, G responses each, B = P*G responses, T tokens.
"""

import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from service.domain.algorithms import GRPOSpec
from service.domain.datasets import LinearAlgebraData
from service.domain.rewards import RegexReward
from service.domain.specs import OptimizerSpec
from worker.training.algorithms.grpo import GRPOObjective
from worker.training.data.encode import Encoder
from worker.training.data.rows import batch_rows, load_rows
from worker.training.decoding.generate import Sampling, generate
from worker.training.models.logprobs import frozen_logprobs, predict
from worker.training.models.policy import Policy, load_policy
from worker.training.objectives.aggregate import row_weights
from worker.training.objectives.surrogate import Batch
from worker.training.rewards.rules.text import regex
from worker.training.sequences.batching import MicroBatch, lengths, micro_batches
from worker.training.updates.optim import Learner

SEED, STEPS, TOKENS = 0, 3, 8192  # TOKENS: the limit of one forward pass
CPU = torch.device("cpu")
DATA = LinearAlgebraData(source="linear-algebra", style="symbolic", size=24)
REWARD = RegexReward(type="regex", pattern="[0-9a-z]{2}")  # two small letters or digits side by side
OPTIMIZER = OptimizerSpec(learning_rate=1e-3)
SPEC = GRPOSpec(type="grpo", prompts_per_step=2, num_generations=4, max_completion_length=16, beta=0.04)


def job() -> dict[str, Any]:
    """The same as a spec for `POST /v1/jobs`."""
    parts = {"algorithm": SPEC, "dataset": DATA, "optimizer": OPTIMIZER}
    documents: dict[str, Any] = {name: part.model_dump(exclude_unset=True) for name, part in parts.items()}
    rewards = [REWARD.model_dump(exclude_unset=True)]
    return documents | {"rewards": rewards, "model": "tiny", "steps": STEPS, "seed": SEED, "packing": False}


def train(steps: int = STEPS) -> Policy:
    """GRPO, from a model and a table of problems to a better model."""
    policy, reference = load_policy("tiny", SEED, CPU, "fp32"), load_policy("tiny", SEED, CPU, "fp32")
    rows = load_rows(DATA, {}, "dataset")
    prompts = Encoder(policy.tokenizer, DATA.template, "dataset").prompts(rows, policy.context)
    learner = Learner(policy.model, OPTIMIZER.learning_rate or 0.0, OPTIMIZER, STEPS)
    objective, score = GRPOObjective(SPEC), regex(REWARD)
    for step in range(steps):
        print(f"step {step + 1}")

        # 1. Sample: which prompts and which tokens is a function of (seed, step, row, position).
        chosen = batch_rows(len(rows), SEED, step, SPEC.prompts_per_step)
        sampling = Sampling(SPEC.max_completion_length, SPEC.temperature, SPEC.num_generations, SEED, step)
        responses = generate(policy, [prompts[row] for row in chosen], sampling)
        sequences = responses.sequences
        texts = policy.tokenizer.batch_decode([each.completion for each in sequences], skip_special_tokens=True)
        show("prompts", [rows[row]["prompt"] for row in chosen])
        show("responses", [repr(text) for text in texts])
        show("log pi", responses.logp_BC.sum(dim=1))

        # 2. Score: one number for each response.
        reward_B = torch.tensor([score("", text, {}) for text in texts])
        show("rewards", reward_B)

        # 3. Compare with the other responses: A_i = (r_i - mean r) / (std r + 1e-4).
        advantage_B = objective.advantages(reward_B.view(-1, SPEC.num_generations)).flatten()
        show("advantages", advantage_B)

        # 4. log pi_ref of the same tokens, and w_i = 1 / (B |o_i|) of the mean over responses.
        ref_BT = frozen_logprobs(reference, sequences, SPEC.temperature, TOKENS)
        length_B = lengths(sequences, CPU)
        weight_B = row_weights(length_B, SPEC.loss_aggregation)
        show("lengths", length_B)

        # 5. The loss, micro-batch by micro-batch: each adds its share of the gradient to the weights'.
        loss, kl = torch.zeros(1), torch.zeros(1)
        for group in micro_batches(sequences, range(len(sequences)), TOKENS):
            batch = MicroBatch([sequences[row] for row in group], CPU)
            predicted, width = predict(policy, batch, SPEC.temperature), batch.mask_BT.shape[1]
            old_BT = predicted.logp_BT.detach()  # one update for each batch: pi_old is the policy itself
            batch_values = Batch(predicted, old_BT, ref_BT[group, :width], batch.mask_BT, SPEC.beta)
            loss_BT, values = objective.token_losses(batch_values, advantage_B[group, None])
            weight_BT = weight_B[group, None] * batch.mask_BT
            share = (loss_BT * weight_BT).sum()
            share.backward()  # type: ignore[no-untyped-call]
            loss += share.detach()
            kl += (values["policy/kl"] * weight_BT).sum().detach()  # the weights of a mean over responses add up to 1
        show("loss", loss)
        show("KL to the reference", kl)

        # 6. Follow the gradient: clipped to a norm of 1, then AdamW.
        norm = learner.norm()
        learner.move(step, norm)
        show("gradient norm", norm[None])
    return policy


def show(name: str, values: Sequence[str] | Tensor) -> None:
    """Print one stage of a step."""
    print(f"  {name:20}", *(each if isinstance(each, str) else f"{each:.3f}" for each in values), sep="  ")


if __name__ == "__main__":
    train(int(sys.argv[1]) if sys.argv[1:] else STEPS)
