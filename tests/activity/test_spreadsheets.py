"""No cell that goes out is run as a formula, and what comes back is what it was."""

from __future__ import annotations

import pytest
from django.db import connection
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from activity.spreadsheets import guarded, guarded_cell, unguarded
from tenants.refs import TenantRef

DANGEROUS = ["=", "+", "-", "@", "\t", "\r"]


def guard(text: str) -> str:
    """As Postgres does it."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {guarded('cell')} FROM (SELECT %s::text AS cell) AS given", [text])
        found: str = cursor.fetchone()[0]
    return found


@pytest.mark.parametrize("letter", DANGEROUS)
@pytest.mark.parametrize("rest", ["", "1+1", "\nnext", "'"])
def test_a_cell_that_would_be_run_is_guarded(tenant: TenantRef, letter: str, rest: str) -> None:
    assert guard(letter + rest) == f"'{letter}{rest}"
    assert guard(f"'{letter}{rest}") == f"''{letter}{rest}"


@pytest.mark.parametrize("text", ["", "'", "''", "O'Neill", "a=1", "1-2", "'tis", " =1", "x\n=1", "é", "\\t"])
def test_other_cells_are_let_be(tenant: TenantRef, text: str) -> None:
    assert guard(text) == unguarded(text) == text


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
awkward = st.text("'=+-@\t\r\n a", max_size=6)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=texts | awkward)
@example("'=x")
@example("''-")
def test_a_cell_comes_back_as_it_was(tenant: TenantRef, text: str) -> None:
    out = guard(text)
    assert unguarded(out) == text
    assert guarded_cell(text) == out
    assert not out.startswith(tuple(DANGEROUS))
