"""Which slugs there may be."""

from __future__ import annotations

import pytest

from tenants.errors import SlugInvalid, SlugReserved, SlugTaken
from tenants.lifecycle.slugs import slug_check, slug_propose, slug_validate
from tenants.refs import TenantRef


@pytest.mark.parametrize("slug", ["abc", "a1b", "acme-2", "a" * 40, "a-b-c"])
def test_a_label_of_letters_digits_and_single_hyphens_is_valid(slug: str) -> None:
    slug_validate(slug)


@pytest.mark.parametrize(
    "slug",
    [
        "",
        "ab",
        "a" * 41,
        "1abc",
        "-abc",
        "abc-",
        "xn--abc",
        "a--b",
        "Abc",
        "a b",
        "a.b",
        "a_b",
        "äbc",
        "abc\n",
        "abc\0",
        "аcme",
    ],
)
def test_what_no_host_name_should_hold_is_invalid(slug: str) -> None:
    with pytest.raises(SlugInvalid):
        slug_validate(slug)


@pytest.mark.parametrize("slug", ["www", "api", "admin", "control", "static", "mail", "app", "support"])
def test_names_of_our_own_are_reserved(slug: str) -> None:
    with pytest.raises(SlugReserved):
        slug_validate(slug)


def test_a_slug_in_use_is_taken(acme: TenantRef) -> None:
    with pytest.raises(SlugTaken):
        slug_check("acme")


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Initech, Inc.", "initech-inc"),
        ("Müller & Söhne", "muller-sohne"),
        ("Acme", "acme-2"),
        ("Admin", "admin-2"),
        ("3M", "org-3m"),
        ("株式会社", "org"),
        ("The Longest Name That Anybody Has Ever Given", "the-longest-name-that-anybody-has-ev"),
    ],
)
def test_a_proposal_is_valid_and_free(acme: TenantRef, name: str, slug: str) -> None:
    assert slug_propose(name) == slug
    slug_check(slug)
