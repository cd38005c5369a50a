"""What an export is to another transformers: its logits, greedy answers and tokens. Needs nothing of Hone.

    python -m peers.read_export TASK.json ANSWER.pt

TASK.json has a list of `folder`, `adapter` (or null) and `text`; ANSWER.pt a list of tensors and ids.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

NEW_TOKENS = 12
EXACT: dict[str, Any] = {"attn_implementation": "eager"}
"""Version 4's default for Gemma 2 leaves out the caps of its attention."""


def answer(folder: str, adapter: str | None, text: str) -> dict[str, Any]:
    """Read a model, with or without an adapter on top, and ask it."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    if adapter is None:
        model: Any = AutoModelForCausalLM.from_pretrained(folder, **EXACT)
    else:
        from peft import AutoPeftModelForCausalLM

        model = AutoPeftModelForCausalLM.from_pretrained(adapter, **EXACT)
    inputs = tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        logits = model.eval().float()(**inputs).logits[0]
        ids = model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False)[0]
    return {"ids": inputs["input_ids"][0].tolist(), "logits": logits, "greedy": ids.tolist()}


def main() -> None:
    """Answer each task; an error is an answer too."""
    task_file, answer_file = sys.argv[1:]
    answers = []
    for task in json.loads(Path(task_file).read_text()):
        try:
            answers.append(answer(task["folder"], task["adapter"], task["text"]))
        except Exception as error:  # noqa: BLE001 - it goes into the table
            answers.append({"error": f"{type(error).__name__}: {error}"[:300]})
    torch.save(answers, answer_file)


if __name__ == "__main__":
    main()
