import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import pytest
import sympy

from service.domain.datasets import LinearAlgebraData, LinearAlgebraTask
from worker.training.data.linear_algebra.problems import rows

ROOT = Path(__file__).parents[5]
TASKS: list[LinearAlgebraTask] = list(get_args(LinearAlgebraTask))
PINNED = ["trace [[2,1],[6,1]]", "det [[4,4],[7,5]]"]


def spec(**changes: Any) -> LinearAlgebraData:
    return LinearAlgebraData.model_validate({"tasks": TASKS, "size": 35, "style": "symbolic"} | changes)


def read(text: str) -> Any:
    """A number, or a nested list of numbers, as sympy's."""
    return sympy.sympify(text, rational=True)


def solved(task: str, operands: list[str]) -> Any:
    """The answer by sympy alone."""
    matrix = sympy.Matrix(read(operands[0]))
    second = sympy.Matrix(read(operands[1])) if len(operands) > 1 else matrix
    solve = {
        "trace": matrix.trace,
        "determinant": matrix.det,
        "transpose": matrix.T.tolist,
        "product": (matrix * second).tolist,
        "rank": matrix.rank,
        "inverse": lambda: matrix.inv().tolist(),
        "system": lambda: list(matrix.LUsolve(second)),
    }
    return solve[task]()


def thought(row: dict[str, str]) -> list[str]:
    match = re.fullmatch(r"<think>(.*)</think><answer>.*</answer>", row["completion"], re.DOTALL)
    assert match
    return match[1].split(";")


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("dimension", [1, 2, 3, 4, 5])
def test_all_answers_are_sympys(dimension: int, negative: bool) -> None:
    for row in rows(spec(dimension=dimension, negative=negative)):
        operands = row["prompt"].split(" ")[1:]
        assert read(row["answer"]) == sympy.sympify(solved(row["task"], operands)), row


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("dimension", [1, 2, 3, 4, 5])
def test_every_equation_of_a_chain_of_thought_holds(dimension: int, negative: bool) -> None:
    for row in rows(spec(dimension=dimension, negative=negative, size=21)):
        lines = initial_rows(row)
        names: dict[str, Any] = {f"R{i}": line for i, line in enumerate(lines, 1)}
        for step in thought(row):
            follow(step, names)


def initial_rows(row: dict[str, str]) -> list[Any]:
    """The rows that R1, R2, ... name at the start: of a system, with the right side."""
    operands = [sympy.Matrix(read(text)) for text in row["prompt"].split(" ")[1:]]
    matrix = operands[0].row_join(operands[1]) if row["task"] == "system" else operands[0]
    return [matrix.row(i) for i in range(matrix.rows)]


def follow(step: str, names: dict[str, Any]) -> None:
    """Check one step, and remember what it defines for those that follow."""
    swap = re.fullmatch(r"(R\d)<->(R\d)", step)
    if swap:
        names[swap[1]], names[swap[2]] = names[swap[2]], names[swap[1]]
        return
    parts = step.split("=")
    values = [value(part, names) for part in parts if not re.fullmatch(r"x\d|C\d\d|adj|rank", part)]
    assert all(value == values[0] for value in values), step
    target = re.match(r"(?:-?\d+\*)?(R\d)", parts[0])
    if target:
        names[target[1]] = values[-1]


def value(text: str, names: dict[str, Any]) -> Any:
    text = re.sub(r"det(\[\[.*?\]\])", r"Matrix(\1).det()", text)
    exact = re.sub(r"(?<![\w.])\d+", r"Integer(\g<0>)", text)
    result = eval(exact, {"Integer": sympy.Integer, "Matrix": sympy.Matrix}, names)  # our own text
    return sympy.Matrix([result]) if isinstance(result, list) and not isinstance(result[0], list) else result


@pytest.mark.parametrize("dimension", [1, 2, 3, 5])
def test_a_chain_of_thought_ends_in_the_answer(dimension: int) -> None:
    for row in rows(spec(dimension=dimension, negative=True, tasks=[task for task in TASKS if task != "inverse"])):
        assert conclusion(row, dimension) == row["answer"]


def conclusion(row: dict[str, str], dimension: int) -> str:
    """The answer, put together from the right sides of the steps."""
    results = [step.split("=")[-1] for step in thought(row)]
    if row["task"] == "transpose":
        return f"[{','.join(results)}]"
    if row["task"] == "product":
        starts = range(0, len(results), dimension)
        lines = [",".join(results[i : i + dimension]) for i in starts]
        return f"[[{'],['.join(lines)}]]"
    return f"[{','.join(reversed(results[-dimension:]))}]" if row["task"] == "system" else results[-1]


def test_the_chain_of_an_inverse_ends_with_the_adjugate() -> None:
    for row in rows(spec(tasks=["inverse"], dimension=3, negative=True)):
        adjugate = sympy.Matrix(read(thought(row)[-1].removeprefix("adj=")))
        matrix = sympy.Matrix(read(row["prompt"].split(" ")[1]))
        assert adjugate == matrix.adjugate()


def test_the_symbolic_style_is_short() -> None:
    short = {row["task"]: row for row in rows(spec(seed=3, size=7))}
    trace, determinant = short["trace"], short["determinant"]
    (a, _), (_, d) = read(trace["prompt"].removeprefix("trace "))
    assert trace["completion"] == f"<think>{a}+{d}={a + d}</think><answer>{a + d}</answer>"
    (a, b), (c, d) = read(determinant["prompt"].removeprefix("det "))
    left, right = a * d, b * c
    chain = f"{a}*{d}={left};{b}*{c}={right};{left}-{right}={left - right}"
    assert determinant["completion"] == f"<think>{chain}</think><answer>{left - right}</answer>"


def test_prose_asks_the_same_problems_in_english_and_names_the_format() -> None:
    for short, long in zip(rows(spec()), rows(spec(style="prose")), strict=True):
        assert long["answer"].replace(" ", "") == short["answer"]
        assert all(text in long["prompt"].replace(" ", "") for text in short["prompt"].split(" ")[1:])
        assert "<think> and </think>" in long["prompt"]
        assert "<answer> and </answer>" in long["prompt"]
        assert long["completion"].endswith(f"</think><answer>{long['answer']}</answer>")


def test_the_first_rows_do_not_depend_on_the_size() -> None:
    assert rows(spec(size=20)) == rows(spec(size=40))[:20]


def test_the_same_spec_gives_the_same_rows_and_another_seed_others() -> None:
    assert rows(spec(seed=1)) == rows(spec(seed=1))
    assert not {row["prompt"] for row in rows(spec(seed=1))} & {row["prompt"] for row in rows(spec(seed=2))}


def test_rows_are_the_same_in_every_release() -> None:
    first = rows(LinearAlgebraData(seed=1, size=2, style="symbolic"))
    assert [row["prompt"] for row in first] == PINNED


def test_tasks_have_equal_shares() -> None:
    tasks = [row["task"] for row in rows(spec(tasks=["rank", "trace"], size=10))]
    assert (tasks.count("rank"), tasks.count("trace")) == (5, 5)


def test_entries_stay_within_their_limits_and_reach_them() -> None:
    def entries(**changes: Any) -> set[int]:
        problems = rows(spec(size=210, max_entry=3, **changes))
        return {int(n) for row in problems for n in re.findall(r"-?\d+", row["prompt"])}

    assert entries() == {0, 1, 2, 3}
    assert entries(negative=True) == {-3, -2, -1, 0, 1, 2, 3}


def test_all_ranks_from_one_up_occur() -> None:
    answers = [row["answer"] for row in rows(spec(tasks=["rank"], dimension=4, size=60))]
    assert {"1", "2", "3", "4"} <= set(answers)


def test_inverses_and_systems_have_fractions() -> None:
    answers = [row["answer"] for row in rows(spec(tasks=["inverse", "system"]))]
    fractions = [text for answer in answers for text in re.findall(r"-?\d+/\d+", answer)]
    assert fractions
    assert all(str(Fraction(text)) == text for text in fractions)  # in lowest terms


def test_importing_costs_neither_torch_nor_sympy() -> None:
    look = "sys.exit('torch' in sys.modules or 'sympy' in sys.modules)"
    code = f"import sys, worker.training.data.linear_algebra.problems; {look}"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
