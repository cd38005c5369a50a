"""The example and the page about it: what they show is what a job does."""

import importlib.util
import re
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from worker.protocol import Assignment, Saved, Step
from worker.training import loop

ROOT = Path(__file__).parents[4]
NUMBER = re.compile(r"-?\d+\.\d{3}")
ROUNDING = 0.0011
"""The page has three decimals; the last one may be rounded the other way on another CPU."""


@pytest.fixture
def example() -> Any:
    """The example, imported."""
    spec = importlib.util.spec_from_file_location("grpo_in_100_lines", ROOT / "examples/grpo_in_100_lines.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_ends_in_the_same_bits_as_the_job(example: Any, tmp_path: Path) -> None:
    policy = example.train()
    models = {"tiny": "tiny"}
    assignment = Assignment(job_id="ftjob-1", attempt=1, spec=example.job(), directory=str(tmp_path), models=models)
    events = list(loop.run(assignment, lambda: None))
    assert len([event for event in events if isinstance(event, Step)]) == example.STEPS
    (saved,) = [event for event in events if isinstance(event, Saved)]
    theirs = load_file(Path(saved.directory) / "model.safetensors")
    ours = policy.model.state_dict()
    assert len(theirs) > 20
    assert [name for name, weight in theirs.items() if not torch.equal(ours[name], weight)] == []


def test_the_page_shows_the_numbers_that_the_example_prints(example: Any, capsys: pytest.CaptureFixture[str]) -> None:
    example.train(2)
    printed = capsys.readouterr().out.splitlines()
    page = (ROOT / "docs/one-grpo-step.md").read_text()
    shown = [line for block in re.findall(r"```text\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    assert [_words(line) for line in shown] == [_words(line) for line in printed]
    for line, expected in zip(shown, printed, strict=True):
        assert _numbers(line) == pytest.approx(_numbers(expected), abs=ROUNDING), line


def _words(line: str) -> list[str]:
    return ["#" if NUMBER.fullmatch(word) else word for word in line.split()]


def _numbers(line: str) -> list[float]:
    return [float(word) for word in line.split() if NUMBER.fullmatch(word)]


def test_the_page_names_functions_that_exist() -> None:
    page = (ROOT / "docs/one-grpo-step.md").read_text()
    named = re.findall(r"`(worker/[\w/]+\.py)`: `([\w.]+)`", page)
    assert len(named) > 10
    for path, name in named:
        assert callable(resolve_name(f"{path.removesuffix('.py').replace('/', '.')}:{name}")), f"{path} has no {name}"
