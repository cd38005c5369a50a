"""The highest memory of a trainer process, against the limits.

    python benchmarks/trainer_memory.py [MODEL_DIRECTORY]

The tiny model with the demonstration's SFT and GRPO; with a directory (SmolLM2-135M, see examples/fetch_smollm2.py)
also three steps of SFT in fp32 on 8 sequences of 256 tokens.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

DATA = {"source": "linear-algebra", "style": "symbolic", "tasks": ["trace", "determinant"], "size": 512}
LONG = {"source": "linear-algebra", "style": "prose", "tasks": ["determinant"], "dimension": 4, "size": 64}


def peak_mb(spec: dict[str, Any], model: str) -> float:
    """Run a trainer to its end and read the kernel's account of it."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, Path(os.devnull).open("w") as events:
        assignment = {
            "job_id": "benchmark",
            "attempt": 1,
            "spec": spec,
            "directory": folder,
            "models": {spec.get("model", "tiny"): model},
        }
        command = [sys.executable, "-m", "worker.trainer", "--events-fd", str(events.fileno())]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=events, pass_fds=[events.fileno()])
        assert process.stdin
        process.stdin.write((json.dumps(assignment) + "\n").encode())
        process.stdin.flush()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stdin.close()
        return usage.ru_maxrss / 1024


def show(name: str, peak: float, limit: float) -> None:
    """Print one row."""
    print(f"{name:44} {peak:7.0f} MB  {peak / limit:5.2f} x the limit of {limit:.0f} MB")


def main() -> None:
    """Print the table."""
    sft = {"algorithm": {"type": "sft", "batch_size": 64}, "dataset": DATA, "steps": 5}
    grpo = {
        "algorithm": {"type": "grpo", "prompts_per_step": 64, "num_generations": 8, "max_completion_length": 40},
        "dataset": DATA,
        "rewards": [{"type": "exact"}],
        "steps": 3,
    }
    show("tiny, SFT, 64 sequences a step", peak_mb(sft, "tiny"), 1024)
    show("tiny, GRPO, 512 responses a step", peak_mb(grpo, "tiny"), 1024)
    if len(sys.argv) > 1:
        long = {
            "algorithm": {"type": "sft", "batch_size": 8, "max_length": 256},
            "dataset": LONG,
            "precision": "fp32",
            "steps": 3,
        }
        show("SmolLM2-135M, SFT fp32, 8 x 256 tokens", peak_mb(long, sys.argv[1]), 6 * 1024)


if __name__ == "__main__":
    main()
