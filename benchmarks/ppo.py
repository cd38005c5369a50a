"""PPO against TRL 0.24, the last release whose PPO is supported: seconds a step of 16 responses of 32 tokens.

    python benchmarks/ppo.py [--model DIR | --random] [--device cuda] [--precision fp32 bf16] [--rounds N] [--steps N]

Sixteen prompts, one response each, one update of policy and critic; KL in the reward, whitened advantages, value clip,
critic and policy of the same size, fp32 weights, AdamW, no gradient checkpointing. What differs: TRL scores with a
reward model of the policy's size, since it takes no functions, and ours with a regular expression; the seconds of that
pass are told, and a second ratio leaves them out. In bf16 TRL's frozen models are bf16 and its policy decodes in fp32.
"""

from statistics import median

from peers import material, side_by_side
from peers.side_by_side import WARM_UP
from transformers import AutoTokenizer

PROMPTS, LENGTH, RATE = 16, 32, 1e-6
SHAPE = {"prompts_per_step": PROMPTS, "max_completion_length": LENGTH, "beta": 0.05}


def main() -> None:
    """A table."""
    options = side_by_side.arguments(__doc__).parse_args()
    other = side_by_side.peer(options, "trl-0.24.0", "peers.trl_ppo")
    with side_by_side.workplace(options) as (folder, model):
        tokenizer, steps = AutoTokenizer.from_pretrained(model), WARM_UP + options.steps
        rows = material.rows(tokenizer, PROMPTS * steps, ["determinant", "inverse", "system"])
        path = material.write(rows, folder / "rows.jsonl")
        prompts = [tokenizer(row["prompt"])["input_ids"] for row in rows]
        side_by_side.heading(options, f"PPO, {PROMPTS} responses of {LENGTH} tokens a step, ours | TRL 0.24")
        for precision in options.precision:
            spec = {
                "algorithm": {
                    "type": "ppo",
                    "num_generations": 1,
                    "num_iterations": 1,
                    "gae_lambda": 0.95,
                    "whiten_advantages": True,
                    "value_clip": 0.2,
                    "loss_aggregation": "token_mean",
                    "critic_learning_rate": RATE,
                    **SHAPE,
                },
                "dataset": {"source": material.FILE, "template": "text"},
                "rewards": [{"type": "regex", "pattern": "[02468]$"}],
                "optimizer": {"learning_rate": RATE, "schedule": "constant"},
                "precision": precision,
            }
            assignment = side_by_side.ours(spec, options, model, path)
            task = {"precision": precision, "model": str(model), "prompts": prompts, "learning_rate": RATE, **SHAPE}
            mine, theirs = side_by_side.compare(options, folder, assignment, other, task)
            side_by_side.show_steps(precision, mine, theirs)
            without = [whole - scored for whole, scored in zip(theirs.seconds, theirs.reward, strict=True)]
            scored = f"its reward model {median(theirs.reward):.2f} s"
            print(f"    {scored}, without it {side_by_side.durations(mine.seconds, without)}", flush=True)


if __name__ == "__main__":
    main()
