"""What the checks of requests overlook, the database refuses by one error."""

from typing import Any

import pytest
from sqlalchemy import text

from hone.errors import Unstorable
from service.persistence.database import Database


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("SELECT CAST(:value AS text)", "a\x00b"),
        ("SELECT CAST(:value AS text)", "\ud800"),
        ("SELECT CAST(:value AS jsonb)", '"\\u0000"'),
        ("SELECT CAST(:value AS jsonb)", '"\\ud800"'),
        ("SELECT CAST(:value AS bigint)", 2**63),
        ("SELECT CAST(:value AS integer)", 2**31),
    ],
)
def test_a_value_that_no_column_can_hold_is_one_kind_of_error(database: Database, query: str, value: Any) -> None:
    with pytest.raises(Unstorable), database.transaction() as session:
        session.execute(text(query), {"value": value})
