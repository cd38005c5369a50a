import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from hone.cli import demo
from hone.cli.demo import StageResult

TINY = {
    "algorithm": {"type": "sft", "batch_size": 4},
    "dataset": {"source": "linear-algebra", "tasks": ["trace"], "size": 16, "style": "symbolic", "max_entry": 3},
    "eval_dataset": {"source": "linear-algebra", "tasks": ["trace"], "size": 4, "style": "symbolic", "seed": 1},
    "evaluation": {"max_completion_length": 8},
    "rewards": [{"type": "math"}],
    "steps": 1,
}
POLICY = {"prompts_per_step": 2, "num_generations": 2, "max_completion_length": 8}


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="hone-test-", dir="/var/tmp"))
    path.chmod(0o755)
    yield path / "data"
    shutil.rmtree(path)


@pytest.fixture
def tiny_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = {"sft": TINY} | {
        name: TINY | {"algorithm": {"type": name} | POLICY, "model": "job:{sft}@latest"} for name in ("grpo", "ppo")
    }
    for name, document in documents.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(document))
    monkeypatch.setattr(demo, "SPECS", tmp_path)


@pytest.mark.usefixtures("tiny_examples")
def test_three_jobs_end_in_a_table_and_in_1_when_nothing_was_gained(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo.demo(folder, 0, page_builder="sh -c 'echo npm is missing; exit 3'") == 1
    shown = capsys.readouterr().out
    assert shown.count("succeeded") >= 3, shown
    assert "Reinforcement learning did not raise the accuracy over SFT." in shown
    assert [line.split()[1] for line in shown.splitlines() if line.startswith("│")] == [
        "untrained",
        "SFT",
        "GRPO",
        "PPO",
    ]
    assert "npm is missing" in shown.partition("PPO")[2] and "`make page` tries again" in shown
    assert not (folder / "server.json").exists()


def test_an_interrupt_while_it_starts_stops_everything(folder: Path) -> None:
    command = [sys.executable, "-m", "hone.cli", "demo", "--data-dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        deadline = time.monotonic() + 180
        while not (folder / "logs/postgres.log").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=180)
    assert process.returncode == 130, printed
    assert "everything is stopped" in printed
    assert not (folder / "postgres/postmaster.pid").exists()


@pytest.mark.parametrize(
    ("accuracies", "succeeded"),
    [
        ((0.0, 0.5, 0.6, 0.7), True),
        ((0.0, 0.5, 0.6, 0.5), False),
        ((0.0, None, 0.1, 0.1), False),
        ((0, 0.5, None, 0.6), False),
    ],
)
def test_it_succeeds_only_if_both_rl_stages_beat_sft(accuracies: tuple[float | None, ...], succeeded: bool) -> None:
    stages = ("untrained", "SFT", "GRPO", "PPO")
    rows = [StageResult(stage, accuracy) for stage, accuracy in zip(stages, accuracies, strict=True)]
    assert demo._print_result(rows, Console(quiet=True)) is succeeded
