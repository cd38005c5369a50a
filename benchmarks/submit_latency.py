"""How long from submitting a job to its first step, with the tiny model and an idle worker.

    python benchmarks/submit_latency.py [RUNS]

The limit is 5 s for now. Beside it stands the same without a fork server: what importing torch costs.
"""

import os
import statistics
import sys
import time

import httpx2
from own_service import running

SPEC = {
    "algorithm": {"type": "sft", "batch_size": 4},
    "dataset": {"source": "linear-algebra", "tasks": ["trace"], "size": 64, "style": "symbolic"},
    "steps": 3,
}
LIMIT_SECONDS = 5.0
IDLE_SECONDS = 12.0


def first_step_seconds(http: httpx2.Client) -> float:
    """Submit, then follow the stream until the first training metrics arrive."""
    started = time.perf_counter()
    job = http.post("/v1/jobs", json=SPEC).json()
    with http.stream("GET", f"/v1/jobs/{job['id']}/stream") as stream:
        for line in stream.iter_lines():
            if line.startswith("data:") and '"train/loss"' in line:
                return time.perf_counter() - started
    raise SystemExit(f"job {job['id']} ended without a step")


def measure(runs: int) -> list[float]:
    """Each run waits until the worker is idle again."""
    with running() as http:
        seconds = []
        for _ in range(runs):
            time.sleep(IDLE_SECONDS)
            seconds.append(first_step_seconds(http))
        return seconds


def main() -> None:
    """Both variants in one run, and the ratio to the limit."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    for spare in ("true", "false"):
        os.environ["HONE_SPARE_TRAINER"] = spare
        seconds = measure(runs)
        median = statistics.median(seconds)
        spread = f"min {min(seconds):.2f}, max {max(seconds):.2f}"
        label = "trainers are forked" if spare == "true" else "trainers are executed"
        print(f"{label:24} median {median:.2f} s ({spread}, {runs} runs) = {median / LIMIT_SECONDS:.2f} x the limit")


if __name__ == "__main__":
    main()
