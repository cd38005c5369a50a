"""The built-in tools: exact, on matrices of numbers."""

from collections.abc import Callable
from fractions import Fraction
from math import isqrt

from service.domain.tools import ToolName
from worker.training.registry import Registry

Matrix = list[list[Fraction]]
FUNCTIONS: Registry[ToolName, Callable[[Matrix], str]] = Registry("tool", "worker.training.tools.functions")
tool = FUNCTIONS.entry
"""`@tool("matrix_rank")`: declares the function of a tool. It returns the output; the policy reads its ValueError."""


@tool("matrix_transpose")
def transpose(matrix: Matrix) -> str:
    """Rows become columns."""
    return show([list(column) for column in zip(*matrix, strict=True)])


@tool("matrix_cofactor")
def cofactor(matrix: Matrix) -> str:
    """C_ij = (-1)^(i+j) times the determinant without row i and column j."""
    size = _square(matrix)
    return show([[(-1) ** (i + j) * _determinant(_minor(matrix, i, j)) for j in range(size)] for i in range(size)])


@tool("determinant")
def determinant(matrix: Matrix) -> str:
    """Of a square matrix."""
    _square(matrix)
    return show(_determinant(matrix))


@tool("frobenius_norm")
def frobenius_norm(matrix: Matrix) -> str:
    """The root of the sum of squares: `5`, or `sqrt(30)` where that is no rational number."""
    total = sum((entry * entry for row in matrix for entry in row), Fraction(0))
    root = Fraction(isqrt(total.numerator), isqrt(total.denominator))
    return show(root) if root * root == total else f"sqrt({show(total)})"


@tool("matrix_rank")
def rank(matrix: Matrix) -> str:
    """The number of independent rows."""
    return str(_eliminated(matrix)[0])


@tool("matrix_trace")
def trace(matrix: Matrix) -> str:
    """The sum of the diagonal of a square matrix."""
    return show(sum((matrix[i][i] for i in range(_square(matrix))), Fraction(0)))


def exact(rows: list[list[int]]) -> Matrix:
    """A matrix of whole numbers."""
    return [[Fraction(entry) for entry in row] for row in rows]


def show(value: Fraction | list[Fraction] | Matrix) -> str:
    """A number or matrix as JSON without blanks: sums and products of decimals are decimals."""
    return f"[{','.join(map(show, value))}]" if isinstance(value, list) else _decimal(value)


def _decimal(value: Fraction) -> str:
    places = 0
    while (value * 10**places).denominator > 1:
        places += 1
    digits = str(abs(int(value * 10**places))).rjust(places + 1, "0")
    sign, point = "-" if value < 0 else "", len(digits) - places
    return f"{sign}{digits[:point]}.{digits[point:]}" if places else f"{sign}{digits}"


def _square(matrix: Matrix) -> int:
    if len(matrix) != len(matrix[0]):
        raise ValueError(f"matrix must be square, but has {len(matrix)} rows and {len(matrix[0])} columns")
    return len(matrix)


def _minor(matrix: Matrix, row: int, column: int) -> Matrix:
    return [line[:column] + line[column + 1 :] for i, line in enumerate(matrix) if i != row]


def _determinant(matrix: Matrix) -> Fraction:
    return _eliminated(matrix)[1]


def _eliminated(matrix: Matrix) -> tuple[int, Fraction]:
    """Rank and, of a square matrix, the determinant, by Gauss; 1 for a matrix without entries."""
    rows, pivot, product = [list(row) for row in matrix], 0, Fraction(1)
    for column in range(len(rows[0]) if rows else 0):
        pivot_row = next((i for i in range(pivot, len(rows)) if rows[i][column]), None)
        if pivot_row is None:
            product = Fraction(0)
            continue
        if pivot_row != pivot:
            rows[pivot], rows[pivot_row], product = rows[pivot_row], rows[pivot], -product
        product *= rows[pivot][column]
        for i in range(pivot + 1, len(rows)):
            factor = rows[i][column] / rows[pivot][column]
            rows[i] = [a - factor * b for a, b in zip(rows[i], rows[pivot], strict=True)]
        pivot += 1
    return pivot, product
