"""The built-in `linear-algebra` rows: exact problems with a worked chain of thought and a result.

Row i is a function of its number and the spec without `size`, so a larger dataset starts with the smaller one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from random import Random
from typing import Any

from service.domain.datasets import LinearAlgebraData, LinearAlgebraTask
from worker.training.data.linear_algebra import chains
from worker.training.data.linear_algebra.chains import ChainStep, Matrix, show

INTEGER = "an integer"
MATRIX = "a matrix like [[1, 2], [3, 4]]"
FRACTIONS = "a matrix of exact fractions like [[1, 0], [1/2, -3/2]]"
VECTOR = "a vector of exact fractions like [1/2, -3]"


@dataclass(frozen=True, slots=True)
class LinearAlgebraProblem:
    """A question, the steps of its solution, and the answer."""

    verb: str
    operands: tuple[list[Any], ...]
    question: str
    """With a `{}` for each operand."""
    form: str
    """What the answer must look like, for the reader of the question."""
    chain: list[ChainStep]
    answer: Any


@dataclass(frozen=True, slots=True)
class Draw:
    """Random operands of one row.

    Only `Random.random` is used: of all methods it alone is promised to give the same numbers in every Python.
    """

    spec: LinearAlgebraData
    random: Random

    def entry(self) -> int:
        """A whole number within the spec's limits."""
        low = -self.spec.max_entry if self.spec.negative else 0
        return low + self.below(self.spec.max_entry - low + 1)

    def below(self, limit: int) -> int:
        """A whole number from 0 to limit - 1."""
        return int(self.random.random() * limit)

    def vector(self) -> list[int]:
        """As many entries as the spec's dimension."""
        return [self.entry() for _ in range(self.spec.dimension)]

    def matrix(self) -> Matrix:
        """A square matrix."""
        return [self.vector() for _ in range(self.spec.dimension)]

    def regular(self) -> Matrix:
        """A square matrix with an inverse."""
        matrix = self.matrix()
        while not _exact(matrix).det():
            matrix = self.matrix()
        return matrix

    def of_any_rank(self) -> Matrix:
        """A square matrix of which some rows depend on others: independent ones would nearly always be full."""
        rows: Matrix = []
        independent = 1 + self.below(self.spec.dimension)
        for i in range(self.spec.dimension):
            rows.append(self.vector() if i < independent else self._dependent(rows))
        for i in reversed(range(1, len(rows))):
            j = self.below(i + 1)
            rows[i], rows[j] = rows[j], rows[i]
        return rows

    def _dependent(self, rows: Matrix) -> list[int]:
        """A multiple of one row plus another if that stays within the limits, else a copy."""
        low = -self.spec.max_entry if self.spec.negative else 0
        first, second = rows[self.below(len(rows))], rows[self.below(len(rows))]
        factor = self.below(3) + 1
        mixed = [factor * a + b for a, b in zip(first, second, strict=True)]
        return mixed if all(low <= value <= self.spec.max_entry for value in mixed) else list(first)


def _trace(draw: Draw) -> LinearAlgebraProblem:
    matrix = draw.matrix()
    steps, answer = chains.trace(matrix)
    return LinearAlgebraProblem("trace", (matrix,), "What is the trace of the matrix {}?", INTEGER, steps, answer)


def _determinant(draw: Draw) -> LinearAlgebraProblem:
    matrix = draw.matrix()
    steps, answer = chains.determinant(matrix)
    return LinearAlgebraProblem("det", (matrix,), "What is the determinant of the matrix {}?", INTEGER, steps, answer)


def _transpose(draw: Draw) -> LinearAlgebraProblem:
    matrix = draw.matrix()
    steps, answer = chains.transpose(matrix)
    return LinearAlgebraProblem(
        "transpose", (matrix,), "What is the transpose of the matrix {}?", MATRIX, steps, answer
    )


def _product(draw: Draw) -> LinearAlgebraProblem:
    left, right = draw.matrix(), draw.matrix()
    steps, answer = chains.product(left, right)
    return LinearAlgebraProblem(
        "product", (left, right), "What is the matrix product of {} and {}?", MATRIX, steps, answer
    )


def _rank(draw: Draw) -> LinearAlgebraProblem:
    matrix = draw.of_any_rank()
    steps, _ = chains.rank(matrix)
    answer = _exact(matrix).rank()
    return LinearAlgebraProblem("rank", (matrix,), "What is the rank of the matrix {}?", INTEGER, steps, answer)


def _inverse(draw: Draw) -> LinearAlgebraProblem:
    matrix = draw.regular()
    steps, _, _ = chains.inverse(matrix)
    answer = _fractions(_exact(matrix).inv())
    return LinearAlgebraProblem("inverse", (matrix,), "What is the inverse of the matrix {}?", FRACTIONS, steps, answer)


def _system(draw: Draw) -> LinearAlgebraProblem:
    matrix, right = draw.regular(), draw.vector()
    steps, _ = chains.system(matrix, right)
    solution = _fractions(_exact(matrix).lu_solve(_exact([[value] for value in right])))
    question = "Which vector x solves A x = b, where A is the matrix {} and b is the vector {}?"
    return LinearAlgebraProblem("solve", (matrix, right), question, VECTOR, steps, [row[0] for row in solution])


PROBLEMS: dict[LinearAlgebraTask, Callable[[Draw], LinearAlgebraProblem]] = {
    "trace": _trace,
    "determinant": _determinant,
    "transpose": _transpose,
    "product": _product,
    "rank": _rank,
    "inverse": _inverse,
    "system": _system,
}


def rows(spec: LinearAlgebraData) -> list[dict[str, str]]:
    """All rows of a spec: `prompt`, `completion`, `answer` and `task`."""
    write = _symbolic if spec.style == "symbolic" else _prose
    tasks = [(i, spec.tasks[i % len(spec.tasks)]) for i in range(spec.size)]
    return [write(PROBLEMS[task](_draw(spec, i, task))) | {"task": task} for i, task in tasks]


def _draw(spec: LinearAlgebraData, i: int, task: LinearAlgebraTask) -> Draw:
    """Both styles ask the same problems: `style` is no part of the seed."""
    return Draw(spec, Random(f"{spec.seed}/{i}/{task}/{spec.dimension}/{spec.max_entry}/{spec.negative}"))


def _symbolic(problem: LinearAlgebraProblem) -> dict[str, str]:
    """Few characters, for small models that read one at a time: `det [[3,5],[2,7]]`."""
    operands = " ".join(_compact(show(operand)) for operand in problem.operands)
    chain = ";".join(_compact(step.text) for step in problem.chain)
    answer = _compact(show(problem.answer))
    return _row(f"{problem.verb} {operands}", chain, answer)


def _prose(problem: LinearAlgebraProblem) -> dict[str, str]:
    """A question in English that says which form the answer has."""
    question = problem.question.format(*map(show, problem.operands))
    instruction = (
        "Reason step by step between <think> and </think>, "
        f"then write only the result, {problem.form}, between <answer> and </answer>."
    )
    chain = "\n".join(f"{step.note}: {step.text}" if step.note else step.text for step in problem.chain)
    return _row(f"{question} {instruction}", chain, show(problem.answer))


def _row(prompt: str, chain: str, answer: str) -> dict[str, str]:
    completion = f"<think>{chain}</think><answer>{answer}</answer>"
    return {"prompt": prompt, "completion": completion, "answer": answer}


def _compact(text: str) -> str:
    return text.replace(" ", "")


def _exact(matrix: list[list[int]]) -> Any:
    """The matrix over sympy's rational field. Imported here: sympy takes 0.4 s, and most rows do without."""
    from sympy.polys.domains import QQ
    from sympy.polys.matrices import DomainMatrix

    return DomainMatrix([[QQ(value) for value in row] for row in matrix], (len(matrix), len(matrix[0])), QQ)


def _fractions(matrix: Any) -> list[list[Fraction]]:
    """A matrix of sympy's rationals as Python's."""
    return [[Fraction(int(x.numerator), int(x.denominator)) for x in row] for row in matrix.to_list()]
