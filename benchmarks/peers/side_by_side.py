"""Runs two sides by turns, each in a process of its own, and compares their seconds and their memory."""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from peers import environments, material

FOLDER = Path(__file__).parents[1]
WARM_UP = 2
"""Steps of each process that are left out."""
MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"


@dataclass
class Measured:
    """All steps of one side."""

    seconds: list[float] = field(default_factory=list)
    rollout: list[float] = field(default_factory=list)
    reward: list[float] = field(default_factory=list)
    length: list[float] = field(default_factory=list)
    """Mean tokens of a response, by step."""
    peak_mb: float = 0.0
    """The kernel's account of the highest resident memory."""
    gpu_mb: float = 0.0

    def add(self, result: dict[str, Any], peak_mb: float) -> None:
        """Count the steps of another process."""
        for step in result["steps"][WARM_UP:]:
            for name, value in step.items():
                getattr(self, name).append(value)
        self.peak_mb = max(self.peak_mb, peak_mb)
        self.gpu_mb = max(self.gpu_mb, result["gpu_bytes"] / 2**20)


class Side(NamedTuple):
    """An interpreter and the module that it runs."""

    interpreter: str
    module: str


OURS = Side(sys.executable, "peers.ours")


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options that all comparisons have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path("/var/tmp/hone-models") / MODEL
    parser.add_argument("--model", type=Path, default=default, help="a folder, see examples/fetch_smollm2.py")
    parser.add_argument("--random", action="store_true", help="random weights of the same shape instead")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", nargs="+", choices=["fp32", "bf16"], default=["fp32", "bf16"])
    parser.add_argument("--rounds", type=int, default=3, help="processes of each side, by turns")
    parser.add_argument("--steps", type=int, default=5, help=f"measured in each process, after {WARM_UP} others")
    parser.add_argument("--envs", type=Path, default=environments.DEFAULT, help="where the peers' environments are")
    parser.add_argument("--peer-python", help="an interpreter that has the peer, instead of an environment of ours")
    return parser


@contextmanager
def workplace(options: argparse.Namespace) -> Iterator[tuple[Path, Path]]:
    """A temporary folder, and the model in it, for the length of a comparison."""
    with tempfile.TemporaryDirectory(prefix="hone-bench-", dir="/var/tmp") as name:
        folder = Path(name)
        model = material.random_model(folder / "random") if options.random else options.model
        if not (model / "config.json").exists():
            raise SystemExit(f"no model in {model}: fetch it with examples/fetch_smollm2.py, or take --random")
        yield folder, material.without_ends(model, folder / "model")


def peer(options: argparse.Namespace, environment: str, module: str) -> Side:
    """The other side."""
    return Side(options.peer_python or environments.python(environment, options.envs), module)


def ours(spec: dict[str, Any], options: argparse.Namespace, model: Path, rows: Path) -> dict[str, Any]:
    """Our task: an assignment of all steps, warm-up included."""
    spec |= {"model": str(model), "steps": WARM_UP + options.steps, "seed": material.SEED, "samples_per_step": 0}
    spec |= {"resources": {"gpus": int(options.device == "cuda")}}
    return {
        "job_id": "ftjob-1",
        "attempt": 1,
        "spec": spec,
        "models": {str(model): str(model)},
        "files": {material.FILE: str(rows)},
        "devices": [0] if options.device == "cuda" else [],
    }


def compare(
    options: argparse.Namespace, folder: Path, assignment: dict[str, Any], other: Side, task: dict[str, Any]
) -> tuple[Measured, Measured]:
    """Both sides, by turns."""
    mine, theirs = Measured(), Measured()
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            mine.add(*_run(OURS, {"assignment": assignment | {"directory": scratch}}, options.device, Path(scratch)))
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            common = {"scratch": scratch, "device": options.device, "steps": WARM_UP + options.steps}
            theirs.add(*_run(other, task | common, options.device, Path(scratch)))
    return mine, theirs


def _run(side: Side, task: dict[str, Any], device: str, scratch: Path) -> tuple[dict[str, Any], float]:
    """The result of a process, and its highest memory in MB."""
    described, result, log = scratch / "task.json", scratch / "result.json", scratch / "log.txt"
    described.write_text(json.dumps(task))
    command = [side.interpreter, "-m", side.module, str(described), str(result)]
    with log.open("wb") as output:
        environment = _environment(device)
        process = subprocess.Popen(command, env=environment, cwd=scratch, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{side.module} failed:\n{log.read_text()[-5000:]}")
    return json.loads(result.read_text()), usage.ru_maxrss / 1024


def _environment(device: str) -> dict[str, str]:
    """All cores, no network, nothing of the user's."""
    threads = str(os.cpu_count())
    ours = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "PYTHONPATH": str(FOLDER), "HF_HUB_OFFLINE": "1"}
    quiet = {"TRL_EXPERIMENTAL_SILENCE": "1", "TOKENIZERS_PARALLELISM": "false"}
    if device == "cpu":
        ours["CUDA_VISIBLE_DEVICES"] = ""
    return {name: value for name, value in os.environ.items() if not name.startswith("HONE_")} | ours | quiet


def heading(options: argparse.Namespace, text: str) -> None:
    """What is compared, on what."""
    name = "random weights" if options.random else options.model.name
    machine = f"{os.cpu_count()} cores, {platform.machine()}" if options.device == "cpu" else options.device
    print(f"{name}, {machine}: {text}")
    steps = f"{options.steps} steps each, after {WARM_UP} that are left out"
    print(f"medians (least to most) of {options.rounds} processes of each side by turns, {steps}")
    print(flush=True)


def rates(mine: list[float], theirs: list[float], unit: str) -> str:
    """Two series of which more is better, and by how much ours is."""
    return f"{spread(mine)} | {spread(theirs)} {unit} | {median(mine) / median(theirs):.2f} x"


def durations(mine: list[float], theirs: list[float]) -> str:
    """Two series of seconds, and how much faster ours is."""
    return f"{spread(mine)} | {spread(theirs)} s | {median(theirs) / median(mine):.2f} x"


def show_steps(name: str, mine: Measured, theirs: Measured) -> None:
    """The seconds of a step, of what part the responses took, how long those were, and the memory."""
    print(name, durations(mine.seconds, theirs.seconds))
    rollouts = durations(mine.rollout, theirs.rollout)
    lengths = f"{median(mine.length):.1f} | {median(theirs.length):.1f}"
    print(f"    of that the responses {rollouts}, {lengths} tokens each; {memory(mine, theirs)}", flush=True)


def memory(mine: Measured, theirs: Measured) -> str:
    """The highest memory of both, of the GPU where there is one."""
    pairs = [("", mine.peak_mb, theirs.peak_mb), ("GPU ", mine.gpu_mb, theirs.gpu_mb)]
    return ", ".join(f"{kind}{a:,.0f} | {b:,.0f} MB" for kind, a, b in pairs if b)


def spread(values: list[float]) -> str:
    """The median, the least and the most."""
    return f"{_short(median(values))} ({_short(min(values))} to {_short(max(values))})"


def _short(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"
