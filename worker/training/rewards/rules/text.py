"""Rewards that look at characters: exact, regex, format."""

import re
from collections.abc import Mapping
from typing import Any

from service.domain.rewards import ExactReward, FormatReward, RegexReward
from worker.training.rewards.registry import TURNS, Legibility, Reader, RewardFunction, reader, rule
from worker.training.rewards.rules.extraction import expected, extracted

# White space is insignificant beside punctuation: `[[1, 2]]` is `[[1,2]]`, but `1 2` is not `12`.
BESIDE_PUNCTUATION = re.compile(r"\s*([^\w\s])\s*")
ANSWERING = ("<think>", "</think>", "<answer>", "</answer>")
CALLING = ("<think>", "</think>", "<tool_call>", "</tool_call>")


@rule(ExactReward)
def exact(spec: ExactReward) -> RewardFunction:
    """1 if the extracted text is the row's answer."""

    def score(prompt: str, response: str, row: Mapping[str, Any]) -> float:
        text, answer = extracted(response, spec.extract), expected(row)
        if text is None:
            return 0.0
        case = spec.case_sensitive
        return float(normalised(text, case_sensitive=case) == normalised(answer, case_sensitive=case))

    return score


@reader(ExactReward)
def read_exact(spec: ExactReward) -> Reader:
    """Any answer that is a text can be compared."""

    def read(row: Mapping[str, Any], *, parse: bool) -> Legibility:
        expected(row)
        return Legibility.READ

    return read


def normalised(text: str, *, case_sensitive: bool = True) -> str:
    """The text without the white space that does not matter."""
    single = BESIDE_PUNCTUATION.sub(r"\1", " ".join(text.split()))
    return single if case_sensitive else single.casefold()


@rule(RegexReward)
def regex(spec: RegexReward) -> RewardFunction:
    """1 if the pattern is found in the response, or is all of it."""
    pattern = re.compile(spec.pattern, re.DOTALL)
    find = pattern.fullmatch if spec.full else pattern.search
    return lambda prompt, response, row: float(find(response) is not None)


@rule(FormatReward)
def format_(spec: FormatReward) -> RewardFunction:
    """1 if the response is one thought and one answer, neither of them empty, and nothing else.

    With tools that is its last turn, and each one before is a thought and a call.
    """

    def score(prompt: str, response: str, row: Mapping[str, Any]) -> float:
        *calling, last = row.get(TURNS) or [response]
        return float(_consists(last, ANSWERING) and all(_consists(turn, CALLING) for turn in calling))

    return score


def _consists(turn: str, tags: tuple[str, ...]) -> bool:
    """Whether a turn is two blocks between these tags, neither of them empty, and nothing else."""
    begin, middle, behind, end = map(re.escape, tags)
    blocks = re.fullmatch(rf"\s*{begin}(.*){middle}\s*{behind}(.*){end}\s*", turn, re.DOTALL)
    once = all(turn.count(tag) == 1 for tag in tags)
    return once and blocks is not None and all(block.strip() for block in blocks.groups())
