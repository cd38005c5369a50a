"""What docstrings show as examples is what the code gives."""

import re
from ast import literal_eval
from fractions import Fraction
from operator import attrgetter

import torch

from worker.training.experience.collect import Experience
from worker.training.objectives.aggregate import row_weights
from worker.training.sequences.batching import MicroBatch, Tokens, lengths
from worker.training.updates.gradients import TokenLoss

CPU = torch.device("cpu")
VALUE = re.compile(r"^ +([\w.]+) {2,}(\[.*\])(?: {2,}.*)?$", re.MULTILINE)
TOKENS = re.compile(r"Tokens\((\[[^\]]*\]), (\[[^\]]*\])\)")


def _tokens(documentation: str | None) -> list[Tokens]:
    """The sequences of an example."""
    (line,) = re.findall(r"^ +sequences.*$", documentation or "", re.MULTILINE)
    return [Tokens(literal_eval(prompt), literal_eval(completion)) for prompt, completion in TOKENS.findall(line)]


def _values(documentation: str | None) -> dict[str, str]:
    """The other things of an example, as text."""
    return {name: text for name, text in VALUE.findall(documentation or "") if name != "sequences"}


def test_a_micro_batch_is_as_its_example_says() -> None:
    batch, shown = MicroBatch(_tokens(MicroBatch.__doc__), CPU), _values(MicroBatch.__doc__)
    assert len(shown) == 6
    for name, text in shown.items():
        assert attrgetter(name)(batch).tolist() == literal_eval(text), name


def test_an_experience_is_as_its_example_says() -> None:
    sequences, shown = _tokens(Experience.__doc__), _values(Experience.__doc__)
    known = {name: torch.tensor(literal_eval(text)) for name, text in shown.items()}
    mask_BT = known.pop("mask_BT")
    experience = Experience(sequences, metrics={}, samples=[], **known)
    assert experience.length_B.tolist() == lengths(sequences, CPU).tolist()
    assert experience.mask_BT.tolist() == mask_BT.tolist()
    assert experience.sampler_BT[mask_BT == 0].tolist() == [0, 0]


def test_a_losss_weights_are_as_its_example_says() -> None:
    sequences = _tokens(TokenLoss.__doc__)
    expected = [float(Fraction(each)) for each in _values(TokenLoss.__doc__)["weight_N"].strip("[]").split(", ")]
    torch.testing.assert_close(row_weights(lengths(sequences, CPU), "seq_mean"), torch.tensor(expected))
