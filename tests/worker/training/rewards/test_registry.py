"""Every reward, built from its schema as a job would."""

import logging
from typing import Any

import pytest
from pydantic import TypeAdapter

from service.domain.rewards import AnyReward
from worker.training.rewards.registry import build, names


def spec_of(**spec: Any) -> AnyReward:
    reward: AnyReward = TypeAdapter(AnyReward).validate_python(spec)
    return reward


def score(response: str, answer: Any = None, **spec: Any) -> float:
    return build(spec_of(**spec))("prompt", response, {} if answer is None else {"answer": answer})


@pytest.mark.parametrize(
    ("extract", "response", "expected"),
    [
        ("answer", "<answer>1</answer> no: <answer> 7 </answer>", 1),
        ("answer", "<answer>7</answer> and <answer>8", 1),
        ("answer", "7", 0),
        ("answer", "</answer>7<answer>", 0),
        ("boxed", r"\boxed{1}, so \boxed{7}", 1),
        ("boxed", r"\boxed{7} and \boxed{8", 1),
        ("boxed", "7", 0),
        ("number", "7 is the answer, and 9 is not", 1),
        ("number", "7 is not the answer", 0),
        ("number", "it is 6 but not 7", 0),
        ("number", "first 7, then 9", 0),
        ("boxed", r"\boxed{6}, not \boxed{7}", 0),
        ("boxed", r"<think>\boxed{7}</think> Some other text.", 0),
        ("boxed", r"<think>\boxed{6}</think>\boxed{7}", 1),
        ("boxed", r"\fbox{7} and \boxed 7", 1),
        ("number", "<think>6</think>7", 1),
        ("number", "<think>7", 0),
        ("answer", "<Answer>7</ANSWER>", 1),
        ("answer", "<think><answer>7</answer></think>", 0),
        ("answer", "[THINK]<answer>6</answer>[/THINK]<answer>7</answer>", 1),
        ("whole", "<think>so</think>7", 1),
        ("whole", "<think>7</think>", 0),
        ("number", "It is 7.", 1),
        ("number", "nothing", 0),
        ("whole", "  7\n", 1),
        ("whole", "", 0),
    ],
)
@pytest.mark.parametrize("kind", ["exact", "numeric", "math"])
def test_only_the_named_part_of_a_response_counts(kind: str, extract: str, response: str, expected: int) -> None:
    assert score(response, "7", type=kind, extract=extract) == expected


def test_exact_wants_the_value_alone_where_others_read_sentences() -> None:
    assert [score("It is 7.", "7", type=kind, extract="whole") for kind in ("exact", "numeric", "math")] == [0, 1, 1]


def test_the_answer_of_gsm8k_follows_four_hashes() -> None:
    solution = "Natalia sold 48/2 = 24 clips in May.\n#### 1,072"
    assert [score("1072", solution, type=kind, extract="whole") for kind in ("numeric", "math")] == [1, 1]
    assert [score("24", solution, type=kind, extract="whole") for kind in ("numeric", "math")] == [0, 0]
    assert score("1,072", solution, type="exact", extract="whole") == 1


@pytest.mark.parametrize("answer", [7, 7.0, "7", " 7 ", r"$\boxed{7}$", "The answer is 7."])
def test_an_answer_may_be_a_number_a_text_or_a_solution(answer: Any) -> None:
    assert score(r"\boxed{7}", answer, type="math", extract="boxed") == 1


def test_a_list_of_numbers_is_a_vector_or_a_matrix() -> None:
    assert score("<answer>[[1, 0.5], [3, 4]]</answer>", [[1, 0.5], [3, 4]], type="math") == 1
    assert score("<answer>[1, 2]</answer>", [2, 1], type="math") == 0


@pytest.mark.parametrize("answer", [["1/2", "0.5"], {"value": 7}, [], ""])
def test_an_answer_that_is_no_value_is_refused(answer: Any) -> None:
    with pytest.raises(ValueError, match="the row's 'answer' is"):
        score("<answer>7</answer>", answer, type="math")


def test_braces_inside_a_box_belong_to_it() -> None:
    assert score(r"so \boxed{\frac{1}{2}}.", "1/2", type="math", extract="boxed") == 1


@pytest.mark.parametrize(
    ("response", "number"),
    [
        ("5-3", "3"),
        ("x = -3", "-3"),
        ("-1, then 1,234.5.", "1234.5"),
        ("a half is 1/2", "1/2"),
        ("1e-3", "0.001"),
        (".5", "0.5"),
        ("[[1,2],[3,-4]]", "-4"),
        ("\N{MINUS SIGN}7", "-7"),
    ],
)
def test_the_last_number_is_read_with_its_sign(response: str, number: str) -> None:
    assert score(response, number, type="numeric", extract="number") == 1


@pytest.mark.parametrize(
    ("text", "answer", "expected"),
    [
        ("[[1, 2], [3, 4]]", "[[1,2],[3,4]]", 1),
        ("yes  no", "yes no", 1),
        ("1 2", "12", 0),
        ("Yes", "yes", 0),
        ("5", 5, 1),
        ("5", 5.0, 1),
        ("0.5", 0.5, 1),
    ],
)
def test_exact_compares_characters_but_not_white_space(text: str, answer: Any, expected: int) -> None:
    assert score(f"<answer>{text}</answer>", answer, type="exact") == expected


def test_exact_can_ignore_case() -> None:
    assert score("<answer>Yes</answer>", "yes", type="exact", case_sensitive=False) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0.5", 1), ("1/2", 1), (r"\frac{1}{2}", 1), ("$0.5$", 1), ("5e-1", 1), ("0.6", 0), ("half", 0), ("0.5 m", 1)],
)
def test_numeric_reads_numbers_in_many_notations(text: str, expected: int) -> None:
    assert score(f"<answer>{text}</answer>", 0.5, type="numeric") == expected


@pytest.mark.parametrize("text", ["nan", "inf", "1/0", "1e999999999", "9" * 100_000, "", "--1"])
def test_numeric_gives_nothing_for_what_is_no_number(text: str) -> None:
    assert score(f"<answer>{text}</answer>", 1, type="numeric", tolerance=1e9) == 0


def test_numeric_tolerates_what_the_spec_says() -> None:
    assert score("<answer>3.14</answer>", "3.14159", type="numeric", tolerance=0.01) == 1
    assert score("<answer>3.1</answer>", "3.14159", type="numeric", tolerance=0.01) == 0


def test_the_tolerance_is_relative_and_absolute_only_around_zero() -> None:
    assert score("<answer>4e-9</answer>", "6.67e-11", type="numeric") == 0
    assert score("<answer>6.670001e-11</answer>", "6.67e-11", type="numeric", tolerance=1e-5) == 1
    assert score("<answer>1001</answer>", "1000", type="numeric", tolerance=0.01) == 1
    assert score("<answer>0.005</answer>", "0", type="numeric", tolerance=0.01) == 1
    assert score("<answer>0.1</answer>", "0", type="numeric", tolerance=0.01) == 0
    assert score("<answer>1234568</answer>", "1234567", type="numeric") == 0


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("0.5", "1/2"),
        (r"\frac{1}{2}", "1/2"),
        (r"$\frac12$", "0.5"),
        ("0.333333", "1/3"),
        ("1,000", 1000),
        ("2(x+1)", "2x+2"),
        ("(x-1)(x+1)", "x^2-1"),
        (r"\sqrt{8}", r"2\sqrt{2}"),
        ("x = 3", "3"),
        ("3+4", "7"),
        ("[[1,2],[3,4]]", "[[1, 2], [3, 4]]"),
        ("[[0.5, 2/4], [3, 4]]", "[[1/2,1/2],[3,4]]"),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", "[[1,2],[3,4]]"),
        (r"$\begin{bmatrix}1/2\\3\end{bmatrix}$", "[1/2,3]"),
        ("[x+x, 3]", "[2x, 3]"),
    ],
)
def test_math_knows_equal_values(text: str, answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    assert score(f"<answer>{text}</answer>", answer, type="math") == 1


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("0.33", "1/3"),
        ("3x+2", "2x+2"),  # their last numbers are equal
        ("0.0000004", "0.0000005"),
        (r"10^{-20}\sqrt{3}", r"10^{-20}\sqrt{2}"),
        ("[[1,2],[3,5]]", "[[1,2],[3,4]]"),
        ("[1,2,3,4]", "[[1,2],[3,4]]"),
        ("[[1,2],[3,4]", "[[1,2],[3,4]]"),
        ("[[7]]", "7"),
        ("7", "[[7]]"),
        ("6 or 7", "7"),
        ("7=8", "7"),
        ("", "7"),
        ("]][[", "7"),
        ("7+/5", "7"),
        ("7*]", "7"),
        ("7-01[", "7"),
        ("\\", "7"),
    ],
)
def test_math_knows_different_values(text: str, answer: str) -> None:
    assert score(f"<answer>{text}</answer>", answer, type="math") == 0


HOSTILE = {
    "a tower of powers": "9^{9^{9^{2}}}",
    "a higher tower": "9**9**9**9",
    "factorials": "((9!)!)!",
    "a large factorial": "100000!",
    "a binomial": r"\binom{1000000000}{500000000}",
    "an exponent": "1e999999999",
    "a power of ten": r"7 \times 10^{999999999}",
    "digits": "9" * 1_000_000,
    "spaces": " " * 1_000_000 + "8",
    "brackets": "(" * 5000 + "7" + ")" * 5000,
    "fractions in fractions": r"\frac{1}{" * 500 + "7" + "}" * 500,
    "a large set": rf"\{{{','.join(map(str, range(20_000)))}\}}",
    "many variables": "+".join(f"x_{{{i}}}" for i in range(200)),
    "a long chain": "x=" * 20_000 + "8",
    "boxes that never close": r"\boxed{" * 20_000,
    "many boxes": r"\boxed{1} and " * 5000,
    "many answers": "the answer is " * 20_000,
    "many thoughts": "<think>" * 100_000,
    "signs": "-" * 5000 + "7",
    "dollars": "$" * 100_000,
    "openings": "\\(" * 9000,
    "a list": "1," * 9000,
    "spaces in between": "7" + " " * 18_000 + "8",
    "spaces between boxes": r"\boxed{7}" + " " * 18_000 + r"x \boxed{8}",
    "no text": "\0\ud800" * 1000,
}


@pytest.mark.parametrize("response", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("answer", ["7", r"\frac{\sqrt{3}}{2}x", "[[1, 2], [3, 4]]"])
def test_math_judges_hostile_answers_wrong_without_evaluating_them(response: str, answer: str) -> None:
    """Each takes milliseconds; what they describe would take years."""
    assert score(response, answer, type="math", extract="whole") == 0


def test_regex_searches_across_lines_and_can_demand_all() -> None:
    assert score("a\nb c", type="regex", pattern="a.b") == 1
    assert score("a\nb c", type="regex", pattern="a.b", full=True) == 0
    assert score("a\nb", type="regex", pattern="a.b", full=True) == 1


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("<think>a</think><answer>b</answer>", 1),
        ("\n<think>\na\n</think>\n<answer>b</answer>\n", 1),
        ("<think>a<b></think><answer>[[1,2]]</answer>", 1),
        ("<think></think><answer>b</answer>", 0),
        ("<think>a</think><answer> </answer>", 0),
        ("<think>a</think><answer>b</answer>c", 0),
        ("c<think>a</think><answer>b</answer>", 0),
        ("<think>a</think>c<answer>b</answer>", 0),
        ("<think>a</think><answer>b</answer><answer>c</answer>", 0),
        ("<think><think>a</think><answer>b</answer>", 0),
        ("<think>a<answer>b</answer></think>", 0),
        ("<answer>b</answer><think>a</think>", 0),
        ("<answer>b</answer>", 0),
        ("<THINK>a</THINK><answer>b</answer>", 0),
        ("", 0),
    ],
)
def test_format_wants_one_thought_one_answer_and_nothing_else(response: str, expected: int) -> None:
    assert score(response, type="format") == expected


def test_a_row_without_an_answer_is_named_as_the_reason() -> None:
    with pytest.raises(ValueError, match="the row has no 'answer'; its columns are level, prompt"):
        build(spec_of(type="exact"))("p", "<answer>1</answer>", {"prompt": "p", "level": 1})


def test_numeric_says_that_an_answer_is_no_number() -> None:
    with pytest.raises(ValueError, match="'blue' is not a number; use the reward 'math' or 'exact'"):
        score("<answer>1</answer>", "blue", type="numeric")


def test_parts_of_the_same_kind_are_numbered() -> None:
    specs = [spec_of(type="regex", pattern="a"), spec_of(type="math"), spec_of(type="regex", pattern="b")]
    assert names(specs) == ["regex", "math", "regex_2"]
