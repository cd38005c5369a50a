"""GRPO against TRL 1.16: seconds a step of 16 responses of 32 tokens, with and without a KL term.

    python benchmarks/grpo.py [--model DIR | --random] [--device cuda] [--precision fp32 bf16] [--rounds N] [--steps N]

Two prompts, eight responses each, one update; the same prompts in the same order, fp32 weights, AdamW, no gradient
checkpointing, and a regular expression as the reward. Ours would skip responses whose group earned the same; here it
must not. Both sides decode with transformers' models in one process.
"""

from peers import material, side_by_side
from peers.side_by_side import WARM_UP
from transformers import AutoTokenizer

PROMPTS, GENERATIONS, LENGTH, RATE = 2, 8, 32, 1e-6
PATTERN = "[02468]$"


def main() -> None:
    """A table."""
    options = side_by_side.arguments(__doc__).parse_args()
    other = side_by_side.peer(options, "trl-1.16.0", "peers.trl_grpo")
    with side_by_side.workplace(options) as (folder, model):
        tokenizer, steps = AutoTokenizer.from_pretrained(model), WARM_UP + options.steps
        rows = material.rows(tokenizer, PROMPTS * steps, ["determinant", "inverse", "system"])
        path = material.write(rows, folder / "rows.jsonl")
        prompts = [rows[row]["prompt"] for row in material.in_order(len(rows), steps, PROMPTS)]
        text = f"GRPO, {PROMPTS} prompts x {GENERATIONS} responses of {LENGTH} tokens a step, ours | TRL 1.16"
        side_by_side.heading(options, text)
        for precision in options.precision:
            for beta in (0.04, 0.0):
                shape = {
                    "prompts_per_step": PROMPTS,
                    "num_generations": GENERATIONS,
                    "max_completion_length": LENGTH,
                    "beta": beta,
                }
                spec = {
                    "algorithm": {"type": "grpo", "zero_variance": "off", **shape},
                    "dataset": {"source": material.FILE, "template": "text"},
                    "rewards": [{"type": "regex", "pattern": PATTERN}],
                    "optimizer": {"learning_rate": RATE, "schedule": "constant"},
                    "precision": precision,
                }
                assignment = side_by_side.ours(spec, options, model, path)
                task = {"precision": precision, "model": str(model), "prompts": prompts, "pattern": PATTERN}
                task |= {"learning_rate": RATE, **shape}
                mine, theirs = side_by_side.compare(options, folder, assignment, other, task)
                side_by_side.show_steps(f"{precision}, beta {beta}", mine, theirs)


if __name__ == "__main__":
    main()
