"""The worked steps of each linear algebra problem, exact and in order, with whole numbers and fractions.

Every step is a true equation in a notation that both styles share: the symbolic one drops the blanks and the notes.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import gcd
from typing import NamedTuple

Number = int | Fraction
Matrix = list[list[int]]


class ChainStep(NamedTuple):
    """One line of a chain of thought."""

    text: str
    note: str = ""
    """What the line is about, for readers of prose."""


def show(value: object) -> str:
    """A number, vector or matrix as text: `[[1, 3/2], [0, -2]]`."""
    if isinstance(value, Sequence):
        return f"[{', '.join(map(show, value))}]"
    return str(value)


def _factor(value: Number) -> str:
    """A number as it stands right of an operator: negative ones and fractions in parentheses."""
    text = str(value)
    return text if text.isdigit() else f"({text})"


def _sum(values: Sequence[int]) -> str:
    """`3 - 7 + 2`"""
    rest = (f" {'-' if value < 0 else '+'} {abs(value)}" for value in values[1:])
    return f"{values[0]}{''.join(rest)}"


def trace(matrix: Matrix) -> tuple[list[ChainStep], int]:
    """The diagonal, added up."""
    diagonal = [row[i] for i, row in enumerate(matrix)]
    total = sum(diagonal)
    return [ChainStep(f"{_sum(diagonal)} = {total}", "Sum of the diagonal")], total


def minor(matrix: Matrix, row: int, column: int) -> Matrix:
    """The matrix without one row and one column (from 0)."""
    return [line[:column] + line[column + 1 :] for i, line in enumerate(matrix) if i != row]


def determinant(matrix: Matrix) -> tuple[list[ChainStep], int]:
    """ad - bc; larger ones by cofactor expansion along the first row."""
    if len(matrix) == 1:
        value = matrix[0][0]
        return [ChainStep(f"{value} = {value}", "The only entry")], value
    if len(matrix) == 2:
        return _determinant_of_two(matrix)
    steps: list[ChainStep] = []
    minors = [0] * len(matrix)
    for j, entry in enumerate(matrix[0]):
        if entry:
            smaller = minor(matrix, 0, j)
            inner, minors[j] = determinant(smaller)
            steps += [ChainStep(show(smaller), f"Minor of the entry {entry} in row 1, column {j + 1}"), *inner]
    signed = [value if j % 2 == 0 else -value for j, value in enumerate(minors)]
    expansion, total = _expansion(matrix[0], signed)
    return [*steps, ChainStep(expansion, "Expansion along row 1")], total


def _determinant_of_two(matrix: Matrix) -> tuple[list[ChainStep], int]:
    (a, b), (c, d) = matrix
    left, right = a * d, b * c
    steps = [
        ChainStep(f"{a}*{_factor(d)} = {left}", "Main diagonal"),
        ChainStep(f"{b}*{_factor(c)} = {right}", "Other diagonal"),
        ChainStep(f"{left} - {_factor(right)} = {left - right}", "Their difference"),
    ]
    return steps, left - right


def _expansion(row: list[int], cofactors: list[int]) -> tuple[str, int]:
    """`2*(-3) + 5*4 = 14`, without the terms whose entry is 0."""
    terms = [f"{_factor(entry)}*{_factor(value)}" for entry, value in zip(row, cofactors, strict=True) if entry]
    total = sum(entry * value for entry, value in zip(row, cofactors, strict=True))
    return f"{' + '.join(terms) or '0'} = {total}", total


def transpose(matrix: Matrix) -> tuple[list[ChainStep], Matrix]:
    """Column after column, each as a row."""
    columns = [list(column) for column in zip(*matrix, strict=True)]
    return [ChainStep(show(column), f"Column {j} becomes row {j}") for j, column in enumerate(columns, 1)], columns


def product(left: Matrix, right: Matrix) -> tuple[list[ChainStep], Matrix]:
    """Row times column for each entry, row by row."""
    columns = [list(column) for column in zip(*right, strict=True)]
    steps, result = [], []
    for i, row in enumerate(left, 1):
        result.append([sum(a * b for a, b in zip(row, column, strict=True)) for column in columns])
        for j, column in enumerate(columns, 1):
            terms = [a * b for a, b in zip(row, column, strict=True)]
            factors = " + ".join(f"{_factor(a)}*{_factor(b)}" for a, b in zip(row, column, strict=True))
            chain = [factors, _sum(terms), str(sum(terms))]
            steps.append(ChainStep(" = ".join(dict.fromkeys(chain)), f"Row {i} times column {j}"))
    return steps, result


def inverse(matrix: Matrix) -> tuple[list[ChainStep], Matrix, int]:
    """Determinant and adjugate: the inverse is the second divided by the first."""
    size = len(matrix)
    if size <= 2:
        steps, total = determinant(matrix)
        adjugate = [[1]] if size == 1 else [[matrix[1][1], -matrix[0][1]], [-matrix[1][0], matrix[0][0]]]
    else:
        steps, cofactors = _cofactors(matrix)
        expansion, total = _expansion(matrix[0], cofactors[0])
        steps.append(ChainStep(expansion, "Determinant, along row 1"))
        adjugate = [list(column) for column in zip(*cofactors, strict=True)]
    return [*steps, ChainStep(f"adj = {show(adjugate)}", f"Adjugate, to be divided by {total}")], adjugate, total


def _cofactors(matrix: Matrix) -> tuple[list[ChainStep], Matrix]:
    steps: list[ChainStep] = []
    cofactors: Matrix = []
    for i in range(len(matrix)):
        cofactors.append([])
        for j in range(len(matrix)):
            smaller, sign = minor(matrix, i, j), "" if (i + j) % 2 == 0 else "-"
            value = determinant(smaller)[1] * (-1 if sign else 1)
            cofactors[i].append(value)
            steps.append(ChainStep(f"C{i + 1}{j + 1} = {sign}{_formula(smaller)} = {value}"))
    return steps, cofactors


def _formula(matrix: Matrix) -> str:
    if len(matrix) > 2:
        return f"det {show(matrix)}"
    (a, b), (c, d) = matrix
    return f"({a}*{_factor(d)} - {_factor(b)}*{_factor(c)})"


def rank(matrix: Matrix) -> tuple[list[ChainStep], int]:
    """Row reduction without fractions; the rank is the number of rows that are left."""
    steps, _, pivots = _eliminate(matrix, len(matrix[0]))
    return [*steps, ChainStep(f"rank = {pivots}", "Rows that are not zero")], pivots


def system(matrix: Matrix, right: list[int]) -> tuple[list[ChainStep], list[Number]]:
    """Elimination, then substitution from the last unknown back; the matrix must be regular."""
    size = len(matrix)
    steps, rows, _ = _eliminate([[*row, value] for row, value in zip(matrix, right, strict=True)], size)
    solution: list[Number] = [0] * size
    for i in reversed(range(size)):
        text, solution[i] = _substitute(rows[i], i, solution)
        steps.append(ChainStep(f"x{i + 1} = {text}", f"Row {i + 1}"))
    return steps, solution


def _substitute(row: list[int], i: int, solution: list[Number]) -> tuple[str, Number]:
    """The unknown `i` of a reduced row whose later unknowns are known: `(1 - 5*2)/3 = -3`."""
    known = [(a, solution[j]) for j, a in enumerate(row[:-1]) if j > i and a]
    numerator = str(row[-1]) + "".join(f" {'-' if a > 0 else '+'} {abs(a)}*{_factor(x)}" for a, x in known)
    value = Fraction(row[-1] - sum(a * x for a, x in known)) / row[i]
    whole = f"({numerator})" if known and row[i] != 1 else numerator
    quotient = whole if row[i] == 1 else f"{whole}/{_factor(row[i])}"
    return " = ".join(dict.fromkeys([quotient, str(value)])), value


def _eliminate(matrix: Matrix, columns: int) -> tuple[list[ChainStep], Matrix, int]:
    """Echelon form by whole-number row operations, with its steps and its number of pivots."""
    rows, steps, pivot = [list(row) for row in matrix], [], 0
    for column in range(columns):
        pivot_row = next((r for r in range(pivot, len(rows)) if rows[r][column]), None)
        if pivot_row is None:
            continue
        if pivot_row != pivot:
            rows[pivot], rows[pivot_row] = rows[pivot_row], rows[pivot]
            steps.append(ChainStep(f"R{pivot + 1} <-> R{pivot_row + 1}", "Swap two rows"))
        steps.extend(_clear(rows, r, pivot, column) for r in range(pivot + 1, len(rows)) if rows[r][column])
        pivot += 1
    return steps, rows, pivot


def _clear(rows: Matrix, target: int, pivot: int, column: int) -> ChainStep:
    """Make one entry below a pivot 0: `3*R2 - 2*R1 = [0, 11]`."""
    p, q = rows[pivot][column], rows[target][column]
    divisor = gcd(p, q) * (-1 if p < 0 else 1)
    p, q = p // divisor, q // divisor
    rows[target] = [p * a - q * b for a, b in zip(rows[target], rows[pivot], strict=True)]
    first, second = ("" if n == 1 else f"{n}*" for n in (p, abs(q)))
    operation = f"{first}R{target + 1} {'-' if q > 0 else '+'} {second}R{pivot + 1}"
    return ChainStep(f"{operation} = {show(rows[target])}", f"New row {target + 1}")
