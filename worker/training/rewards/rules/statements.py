"""What a sentence claims: the value in `The answer is 18.`, and none in `The 7 dwarfs sang` or `it is not 6`."""

import re

from worker.training.rewards.rules.units import FUNCTIONS

NUMBER = r"(?<![A-Za-z\d])[-+]?[$€£]?\d[\d,]*(?:\.\d+)?(?:/\d+)?%?"
LATEX = r"\$\$[^$]{1,999}\$\$|(?<!\\)\$[^$\n]{1,999}\$(?!\d)|\\\(.{1,999}?\\\)|\\\[.{1,999}?\\\]|\\boxed\s*\{[^{}]*\}"
VALUE = rf"(?:{LATEX}|{NUMBER})"
NEGATION = r"(?:not|never|cannot|can't|isn't|aren't|wasn't|doesn't|don't|rather than|instead of|except)"
FILLING = r"(?:(?:be|equal|to|the|a|an|is|are|was|simply|just|answer|number|value|have|has|get)\s+|\\text\s*\{\s*)*"
DENIED = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b{NEGATION}\s+{FILLING}(?:[A-Za-z]\s*=\s*)?{VALUE}",
        rf"{VALUE}\s+(?:is|was|are)(?:n't|\s+not|\s+(?:wrong|incorrect|false))\b[^.,;\n]*",
    )
]
MARKER = re.compile(
    r"(?:\b(?:final\s+)?(?:answer|result|solution)\s*(?:\*\*)?\s*(?:(?:is|are|was|equals|becomes)\b(?:\s*:)?|:|=)"
    r"|####)(?:\s*\*\*(?!\d))?\s*",
    re.IGNORECASE,
)
MARKER_BEHIND = re.compile(
    rf"({VALUE})[*\s]+is\s+(?:the|our|my)\s+(?:\w+\s+)?(?:answer|result|solution)\b", re.IGNORECASE
)
COPULA = re.compile(
    r"(?:\b(?:is|are|was|were|be|equals?|equal to|becomes?|gives?|gets?|got|obtains?|has|have|had|makes?|"
    r"yields?|totals|costs?|therefore|thus|hence|so)\b|:|=)[\s:*]*",
    re.IGNORECASE,
)
BEFORE_VALUE = re.compile(
    r"(?:\s|\*\*|(?:the|a|an|about|approximately|exactly|only|just|simply|equal to|number|value|total|of|therefore|"
    r"thus|hence|so|then|it|is|equals)\b|[,:=])*",
    re.IGNORECASE,
)
IN_PASSING = re.compile(
    r"(?:^|\b(?:the|these|those|this|all|of|in|at|on|for|since|because|if|when|while|with|from|than|after|"
    r"before|until|twice|thrice|half|double|without|page|chapter|step|question|problem|case|example|figure|number|least|most|less|more|let|suppose|"
    r"assume|given|through|between|and|or|to|as|(?:divid|multipl)\w+\s+by|divide|multiply|add|subtract|consider|try|like|below|"
    r"above|over|under|(?:anything|all)\s+but)"
    r")[\s*]*$",
    re.IGNORECASE,
)
ASSUMED = re.compile(r"(?:suppose|assume|assuming|let|if|imagine)\b", re.IGNORECASE)
WORD = re.compile(r"(?<![\\a-zA-Z])[A-Za-z]+(?:'[a-z]+)?")
NO_PROSE = frozenset([*FUNCTIONS, "and", "infinity", "deg", "rad", "usd", "eur"])
SHORT_PROSE = frozenset(
    ["is", "it", "to", "of", "we", "so", "an", "in", "be", "as", "at", "by", "he", "no", "if", "my"]
)
COMMAND_TEXT = re.compile(r"\\(?:text|mbox|mathrm|textbf|textit|operatorname|mathbf|begin|end|mathbb)\s*\{[^{}]*\}")
SENTENCE = re.compile(r"(?<=[.!?])[\s*]+(?=[A-Z\\$*(])|\n\s*\n|\n(?=[A-Z#*-])")
ASSIGNED = re.compile(r"(?:\\?[A-Za-z](?:_\w+)?(?:\([^()]*\))?\s*=\s*)$")
SPAN = re.compile(
    rf"{LATEX}|\\frac\s*\{{[^{{}}]*\}}\s*\{{[^{{}}]*\}}|[\[({{][^\[\](){{}}]*\d[^\[\](){{}}]*[\])}}]|{NUMBER}"
)
NEXT_TO = re.compile(r"[\s,;]*(?:\b(?:and|or)\b)?[\s,;]*(?:\$?\\?[A-Za-z](?:_\w+)?\s*=\s*)?")
BOUND = re.compile(
    r"(?:\s|\*)*(?:less|more|fewer|greater|larger|smaller|at least|at most|up to|over|under|above|below|between|"
    r"anything but|all but)\b",
    re.IGNORECASE,
)
"""A bound is no value."""
PLAIN = re.compile(r"[\w\s'\",.:;()%$*!?=+/^&#<>|-]*")
EXCLAIMED = re.compile(r"(?<=[\w%])!+[\s*.]*$")
"""`The answer is 18!` is glad, not a factorial, which stands between delimiters."""
LONG = 2000
KEPT = 200
REPEATED = re.compile(rf"(.{{1,12}}?)\1{{{KEPT},}}", re.DOTALL)
"""Digits are kept all the same: they would become another number."""
MAX_WORDS = 4
MAX_LENGTH = 20_000
"""Characters at the end of a text that are read."""


def squeezed(text: str) -> str:
    """A long text without most of what it repeats: searches in many dollar signs take the square of their number."""
    if len(text) <= LONG:
        return text
    return REPEATED.sub(lambda match: match[0] if match[1].isdigit() else match[1] * KEPT, text)


def affirmed(text: str) -> str:
    """The text without the values that it denies: without `not 6` and `9 is not`."""
    for pattern in DENIED:
        text = pattern.sub(" ", text)
    return text


def is_prose(text: str) -> bool:
    """Whether it has words of a language, not only names of functions and variables."""
    if not re.search("[A-Za-z]{2}", text):
        return False
    words = [word.lower() for word in WORD.findall(COMMAND_TEXT.sub(" ", text))]
    return any((len(word) > 2 and word not in NO_PROSE) or word in SHORT_PROSE for word in words)


def claim(text: str, *, marked: bool = False) -> str | None:
    """The expression that a text in words gives as its answer, or None.

    It follows the last `answer is`, `answer:`, `result is` or `####`. Otherwise it is the only value of the last
    sentence that has one, or what follows `is`, `=`, `:` and the like there; a value that only occurs, as the subject
    or behind a preposition, is no answer. With `marked` only what follows such a mark counts.
    """
    text = affirmed(text[-MAX_LENGTH:])
    for start in reversed([match.end() for match in MARKER.finditer(text)]):
        rest = _sentences(text[start:])
        if rest and not _denies(text[:start].rpartition(".")[2]):
            if BOUND.match(rest[0]):
                return _words(rest[0])
            return _first_value(rest[0]) or _last_value(rest[0]) or _words(rest[0])
    if marked:
        return None
    behind = list(MARKER_BEHIND.finditer(text))
    if behind:
        return behind[-1][1]
    for sentence in reversed(_sentences(text)):
        if SPAN.search(sentence):
            return None if sentence.endswith("?") else _stated(sentence)
    return _named(text)


def _sentences(text: str) -> list[str]:
    return [part.strip() for part in SENTENCE.split(text) if part.strip(" \n*.")]


def _denies(sentence: str) -> bool:
    return re.search(rf"\b{NEGATION}\b|n't\b", sentence, re.IGNORECASE) is not None


def _stated(sentence: str) -> str | None:
    """The value that a sentence without `answer` ends with."""
    if ASSUMED.match(sentence):
        return None
    latex = [span.span() for span in re.finditer(LATEX, sentence)]
    for copula in reversed(list(COPULA.finditer(sentence))):
        inside = any(start < copula.start() < end for start, end in latex)
        value = None if inside else _first_value(sentence[copula.end() :])
        if value is not None:
            start = sentence.index(value, copula.end())
            follows = sentence[start + len(value) :]
            return None if SPAN.search(follows) or _denies(sentence[:start]) else value
    spans = list(SPAN.finditer(sentence))
    before, after = sentence[: spans[0].start()], sentence[spans[0].end() :]
    if before.rstrip().endswith(" that") and after.strip(" .*!"):
        return None  # `we know that 7 is prime`
    if len(spans) > 1 or IN_PASSING.search(before) or _denies(before) or not (_is_plain(before) and _is_plain(after)):
        return None
    return spans[0].group()


def _is_plain(text: str) -> bool:
    """Whether it is words and punctuation, apart from LaTeX between delimiters; noise with a number states nothing."""
    return PLAIN.fullmatch(re.sub(LATEX, " ", text)) is not None


def _named(text: str) -> str | None:
    """The words behind the last `is`: of `The capital is Paris.` it is `Paris`."""
    copulas = list(COPULA.finditer(text))
    words = _words(text[copulas[-1].end() :]) if copulas else None
    return words if words and len(words.split()) <= MAX_WORDS and not _denies(words) else None


def _first_value(text: str) -> str | None:
    """The value, or the values, that a text begins with, before its first word."""
    start = BEFORE_VALUE.match(text)
    rest = text[start.end() if start else 0 :]
    if not re.search(r"\w", rest):
        return None
    if not is_prose(rest):
        return EXCLAIMED.sub("", rest)
    at, end = 0, 0
    while True:
        joined = NEXT_TO.match(rest, at)
        span = SPAN.match(rest, joined.end() if joined else at)
        if span is None or (at and span.start() == at):
            break
        at = end = span.end()
    if end:
        return rest[:end] if not is_prose(rest[:end]) else None
    head = _before_prose(rest)
    return head if re.search(r"\d|\\[a-zA-Z]|^[A-Za-z]$", head) else None


def _last_value(sentence: str) -> str | None:
    spans = list(SPAN.finditer(sentence))
    if not spans or not (_is_plain(sentence[: spans[-1].start()]) and _is_plain(sentence[spans[-1].end() :])):
        return None
    assigned = ASSIGNED.search(sentence[: spans[-1].start()])
    return sentence[assigned.start() if assigned else spans[-1].start() : spans[-1].end()]


def _words(text: str) -> str | None:
    """An answer in words: `Monday`."""
    text = text.strip(" .*!\n")
    return text if text and len(text) < 200 else None


def _before_prose(text: str) -> str:
    for word in WORD.finditer(text):
        if is_prose(word.group()):
            return text[: word.start()].strip(" ,;.")
    return text
