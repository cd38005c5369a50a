"""Supervised fine-tuning against TRL 1.16: tokens a second, and the memory of a step of 2,048 tokens.

    python benchmarks/sft.py [--model DIR | --random] [--device cuda] [--precision fp32 bf16] [--rounds N] [--steps N]

Both sides have the same rows in the same order, fp32 weights, AdamW and no gradient checkpointing.
"""

import argparse
from pathlib import Path
from typing import Any

from peers import material, side_by_side
from peers.side_by_side import WARM_UP, Measured
from transformers import AutoTokenizer

BATCH, RATE = 8, 1e-5
ALL_TASKS = ["trace", "determinant", "transpose", "product", "rank", "inverse", "system"]


def measure(
    options: argparse.Namespace, folder: Path, model: Path, precision: str, rows: list[dict[str, Any]], length: int
) -> tuple[Measured, Measured, list[int]]:
    """Both sides on some rows, cut to `length` tokens; also the tokens of each step."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    spec = {
        "algorithm": {"type": "sft", "batch_size": BATCH, "max_length": length},
        "dataset": {"source": material.FILE, "template": "text"},
        "optimizer": {"learning_rate": RATE, "schedule": "constant"},
        "precision": precision,
    }
    assignment = side_by_side.ours(spec, options, model, material.write(rows, folder / "rows.jsonl"))
    sequences = material.encoded(tokenizer, rows, length)
    order = material.in_order(len(rows), WARM_UP + options.steps, BATCH)
    task = {
        "model": str(model),
        "precision": precision,
        "batch_size": BATCH,
        "learning_rate": RATE,
        "rows": [
            {
                "input_ids": [*sequences[row].prompt, *sequences[row].completion],
                "labels": [-100] * len(sequences[row].prompt) + sequences[row].completion,
            }
            for row in order
        ],
    }
    other = side_by_side.peer(options, "trl-1.16.0", "peers.trl_sft")
    mine, theirs = side_by_side.compare(options, folder, assignment, other, task)
    totals = [sequences[row].total for row in order]
    tokens = [sum(totals[start : start + BATCH]) for start in range(WARM_UP * BATCH, len(totals), BATCH)]
    return mine, theirs, tokens


def main() -> None:
    """Two tables."""
    options = side_by_side.arguments(__doc__).parse_args()
    with side_by_side.workplace(options) as (folder, model):
        tokenizer, steps = AutoTokenizer.from_pretrained(model), WARM_UP + options.steps
        rows = material.rows(tokenizer, BATCH * steps, ALL_TASKS)
        mean = sum(row.total for row in material.encoded(tokenizer, rows, 1024)) / len(rows)
        side_by_side.heading(options, f"SFT, {BATCH} sequences of {mean:.0f} tokens a step, ours | TRL 1.16")
        for precision in options.precision:
            mine, theirs, tokens = measure(options, folder, model, precision, rows, 1024)
            speeds = side_by_side.rates(_speeds(tokens, mine), _speeds(tokens, theirs), "tokens/s")
            print(precision, speeds, flush=True)
        print("\nthe highest memory with 8 sequences of 256 tokens")
        options.rounds, options.steps = 1, 1
        long = material.rows(tokenizer, BATCH * (WARM_UP + 1), ["product"], dimension=3)
        for precision in options.precision:
            mine, theirs, tokens = measure(options, folder, model, precision, long, 256)
            print(precision, f"{tokens[0]:,} tokens a step, {side_by_side.memory(mine, theirs)}", flush=True)


def _speeds(tokens: list[int], side: Measured) -> list[float]:
    """Tokens a second of all steps; each process took the same ones."""
    rounds = len(side.seconds) // len(tokens)
    return [count / seconds for count, seconds in zip(tokens * rounds, side.seconds, strict=True)]


if __name__ == "__main__":
    main()
