import math

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.tools import ToolsSpec, schemas
from worker.training.tools.calls import run_call
from worker.training.tools.functions import FUNCTIONS

NAMES = list(FUNCTIONS)


def call(name: str, matrix: object) -> str:
    return f'<think>so</think><tool_call>{{"name": "{name}", "arguments": {{"matrix": {matrix}}}}}</tool_call>'


def refused(turn: str) -> str:
    with pytest.raises(ValueError, match=r".") as error:
        run_call(turn, NAMES)
    return str(error.value)


def square(size: int) -> st.SearchStrategy[list[list[int]]]:
    row = st.lists(st.integers(-9, 9), min_size=size, max_size=size)
    return st.lists(row, min_size=size, max_size=size)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4).flatmap(square))
def test_tools_say_what_sympy_says(rows: list[list[int]]) -> None:
    exact = sympy.Matrix(rows)
    expected = {
        "matrix_transpose": exact.T.tolist(),
        "matrix_cofactor": exact.cofactor_matrix().tolist(),
        "determinant": exact.det(),
        "matrix_rank": exact.rank(),
        "matrix_trace": exact.trace(),
        "frobenius_norm": exact.norm(),
    }
    for name, value in expected.items():
        assert sympy.sympify(run_call(call(name, rows), NAMES)) == sympy.sympify(value)


def test_decimals_stay_exact() -> None:
    assert run_call(call("determinant", "[[0.1, 0.2], [0.3, -0.4]]"), NAMES) == "-0.1"
    assert run_call(call("matrix_transpose", "[[1.50, 2e1]]"), NAMES) == "[[1.5],[20]]"
    assert run_call(call("matrix_trace", "[[1e-3]]"), NAMES) == "0.001"


def test_a_norm_without_an_end_is_a_root() -> None:
    assert run_call(call("frobenius_norm", "[[3, 4]]"), NAMES) == "5"
    assert run_call(call("frobenius_norm", "[[1, 2], [3, 4]]"), NAMES) == "sqrt(30)"
    assert math.isclose(float(sympy.sympify("sqrt(30)")), 5.477, rel_tol=1e-3)


def test_the_first_call_of_a_turn_counts() -> None:
    assert run_call(call("matrix_trace", "[[1]]") + call("matrix_trace", "[[2]]"), NAMES) == "1"


def test_white_space_in_a_call_does_not_matter() -> None:
    turn = '<tool_call>\n{"name": "matrix_rank",\n "arguments": {"matrix": [[1]]}}\n</tool_call>'
    assert run_call(turn, NAMES) == "1"


@pytest.mark.parametrize(
    ("turn", "message"),
    [
        ("1]]}}</tool_call>", "without <tool_call>"),
        ('<tool_call>{"name": "determinant", </tool_call>', "not JSON"),
        ("<tool_call>" + "[" * 100_000 + "</tool_call>", "nested too deeply"),
        ("<tool_call>[1]</tool_call>", "needs a name and arguments"),
        ('<tool_call>{"name": 1, "arguments": {}}</tool_call>', "needs a name and arguments"),
        (call("determinent", "[[1]]"), "did you mean determinant?"),
        (call("os.system", "[[1]]"), "there are matrix_transpose"),
        (call("determinant", "[[1, 2]]"), "must be square, but has 1 rows and 2 columns"),
        (call("determinant", "[[1, 2], [3]]"), "rows of one length"),
        (call("determinant", "[]"), "list of rows"),
        (call("determinant", "[[]]"), "list of rows"),
        (call("determinant", "[[true]]"), "list of rows"),
        (call("determinant", '"[[1]]"'), "list of rows"),
        (call("determinant", f"{[[1] * 17] * 17}"), "at most 16 rows"),
        (call("determinant", "[[1e999]]"), "number is too long"),
        (call("determinant", f"[[{'9' * 60}]]"), "number is too long"),
        (call("determinant", "[[NaN]]"), "NaN is no number"),
        ('<tool_call>{"name": "determinant", "arguments": {"matrix": [[1]], "x": 1}}</tool_call>', "one argument"),
    ],
)
def test_a_bad_call_is_answered_with_what_is_wrong(turn: str, message: str) -> None:
    assert message in refused(turn)


def test_schemas_are_in_the_form_of_chat_templates() -> None:
    (schema,) = schemas(ToolsSpec(functions=["determinant", "determinant"])) or []
    assert schema["type"] == "function" and schema["function"]["name"] == "determinant"
    assert schema["function"]["parameters"]["required"] == ["matrix"]
    assert schemas(None) is None
