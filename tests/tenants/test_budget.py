"""How a server's connections are shared out: by arithmetic alone, in any order of renewals."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tenants.db.budget import Holding, grant

CAPACITY = st.integers(0, 60)
WANTED = st.lists(st.integers(1, 20), min_size=1, max_size=8)


def renew(capacity: int, holdings: list[Holding], number: int, wanted: int) -> None:
    """One process's renewal, which asks for a little more than it wants."""
    others = [holding for index, holding in enumerate(holdings) if index != number]
    size = grant(
        capacity, Holding(holdings[number].size, wanted), others, min(20, max(wanted, holdings[number].size) + 2)
    )
    holdings[number] = Holding(size, wanted)


@given(CAPACITY, WANTED, st.lists(st.tuples(st.integers(0, 7), st.integers(1, 20)), max_size=60))
def test_the_sum_never_exceeds_the_capacity(capacity: int, wanted: list[int], renewals: list[tuple[int, int]]) -> None:
    holdings = [Holding(0, 1) for _ in wanted]
    for number, wants in renewals:
        renew(capacity, holdings, number % len(holdings), wants)
        assert sum(holding.size for holding in holdings) <= capacity


@given(CAPACITY, WANTED, st.integers(0, 7))
def test_each_soon_has_what_it_wants_or_its_fair_part(capacity: int, wanted: list[int], greedy: int) -> None:
    holdings = [Holding(0, 1) for _ in wanted]
    for _ in range(20):
        renew(capacity, holdings, greedy % len(holdings), 20)  # one came first and took all that it could
    for _ in range(3):
        for number, wants in enumerate(wanted):
            renew(capacity, holdings, number, wants)
    fair = capacity // len(wanted)
    for holding, wants in zip(holdings, wanted, strict=True):
        assert holding.size >= min(wants, fair)


@given(CAPACITY, WANTED)
def test_nothing_is_left_lying_while_somebody_wants_it(capacity: int, wanted: list[int]) -> None:
    holdings = [Holding(0, 1) for _ in wanted]
    for _ in range(4):
        for number, wants in enumerate(wanted):
            renew(capacity, holdings, number, wants)
    left = capacity - sum(holding.size for holding in holdings)
    assert left == 0 or all(holding.size >= wants for holding, wants in zip(holdings, wanted, strict=True))


def test_who_holds_more_than_its_part_keeps_it_while_nobody_wants_it() -> None:
    assert grant(30, Holding(25, 1), [Holding(2, 1), Holding(3, 3)], most=25) == 25


def test_and_gives_way_when_somebody_does() -> None:
    assert grant(30, Holding(25, 1), [Holding(2, 1), Holding(3, 12)], most=25) == 18
