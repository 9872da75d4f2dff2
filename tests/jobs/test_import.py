"""The rules by which an import takes rows."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.storage import default_storage

from accounts.imports import job as imports
from accounts.models import ImportedRow, User
from accounts.services.members import member_create
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.accounts.conftest import Api, ApiOf
from tests.jobs.conftest import imported, members, problems


@pytest.fixture
def asking(api: ApiOf, admin: User) -> Api:
    return api(admin)


@pytest.fixture(params=[imports.BATCH, 1], ids=["one batch", "a batch for each row"])
def batches(request: Any, monkeypatch: pytest.MonkeyPatch) -> int:
    """What holds within a batch must hold across them."""
    monkeypatch.setattr(imports, "BATCH", request.param)
    size: int = request.param
    return size


def counts(created: int = 0, updated: int = 0, unchanged: int = 0, refused: int = 0) -> dict[str, int]:
    return {"created": created, "updated": updated, "unchanged": unchanged, "refused": refused}


def test_rows_are_created_updated_unchanged_or_refused(asking: Api, acme: TenantRef, batches: int, admin: User) -> None:
    with use_tenant(acme):
        member_create(by=None, email="ann@example.com", name="Ann")
        member_create(by=None, email="bob@example.com", name="Bob", role="viewer")
    content = (
        "email,name,role\nANN@example.com,Anna,admin\nbob@example.com,Bob,viewer\ncy@example.com,Cy,\nnobody,Nobody,\n"
    )
    job = imported(asking, acme, content)
    assert job.state == "succeeded"
    assert job.counts == counts(created=1, updated=1, unchanged=1, refused=1)
    assert (job.done, job.total) == (4, 4)
    assert members(acme) == {
        admin.email: ("Adam", "admin"),
        "ann@example.com": ("Anna", "admin"),
        "bob@example.com": ("Bob", "viewer"),
        "cy@example.com": ("Cy", "member"),
    }
    assert job.started_at is not None
    assert job.finished_at is not None


def test_the_same_file_again_changes_nothing(asking: Api, acme: TenantRef, batches: int) -> None:
    content = "email,name,role\nann@example.com,Ann,viewer\ncy@example.com,,\nAnn@example.com,Other,\nx,,\n"
    first = imported(asking, acme, content)
    after = members(acme)
    again = imported(asking, acme, content)
    assert first.counts == counts(created=2, refused=2)
    assert again.counts == counts(unchanged=2, refused=2)
    assert members(acme) == after
    assert problems(acme, again) == problems(acme, first)


def test_of_addresses_that_differ_in_case_the_first_one_counts(asking: Api, acme: TenantRef, batches: int) -> None:
    content = "email,name\nann@example.com,First\ncy@example.com,Cy\nANN@example.com,Second\nAnn@Example.com,Third\n"
    job = imported(asking, acme, content)
    assert job.counts == counts(created=2, refused=2)
    assert members(acme)["ann@example.com"] == ("First", "member")
    reason = "Row 2 has this address already; the first one counts."
    assert problems(acme, job) == [
        (4, "email", "ANN@example.com", reason),
        (5, "email", "Ann@Example.com", reason),
    ]


def test_a_row_that_can_not_be_taken_does_not_count_as_the_first(asking: Api, acme: TenantRef, batches: int) -> None:
    job = imported(asking, acme, "email,name,role\nann@example.com,First,king\nann@example.com,Second,\n")
    assert job.counts == counts(created=1, refused=1)
    assert members(acme)["ann@example.com"] == ("Second", "member")


def test_a_member_who_is_there_keeps_the_address_as_it_is(asking: Api, acme: TenantRef) -> None:
    with use_tenant(acme):
        made = member_create(by=None, email="Ann@example.com", name="Ann")
    imported(asking, acme, "email,name\nANN@EXAMPLE.COM,Anna\n")
    with use_tenant(acme):
        assert User.objects.get(name="Anna").pk == made.pk
        assert User.objects.get(name="Anna").email == "Ann@example.com"


@pytest.mark.parametrize("role", ["admin", "member", "viewer"])
def test_a_role_is_given_however_it_is_written(asking: Api, acme: TenantRef, role: str) -> None:
    imported(asking, acme, f"email,role\nann@example.com, {role.upper()} \n")
    assert members(acme)["ann@example.com"] == ("", role)


@pytest.mark.parametrize("content", ["email\nann@example.com\n", "email,role\nann@example.com,\n"])
def test_without_a_role_one_is_a_member(asking: Api, acme: TenantRef, content: str) -> None:
    imported(asking, acme, content)
    assert members(acme)["ann@example.com"] == ("", "member")


def test_an_unknown_role_is_refused(asking: Api, acme: TenantRef) -> None:
    job = imported(asking, acme, "email,role\nann@example.com,king\n")
    assert problems(acme, job) == [(2, "role", "king", "Use admin, member or viewer, or leave it empty.")]
    assert "ann@example.com" not in members(acme)


def test_an_import_makes_no_owners_even_for_an_owner(
    api: ApiOf, owner: User, member: User, acme: TenantRef, batches: int
) -> None:
    before = members(acme)
    job = imported(api(owner), acme, f"email,name,role\nnew@example.com,New,owner\n{member.email},Mia,Owner\n")
    assert job.counts == counts(refused=2)
    assert [(row, column) for row, column, _, _ in problems(acme, job)] == [(2, "role"), (3, "role")]
    assert members(acme) == before


def test_an_owner_is_not_changed_by_a_file(asking: Api, owner: User, acme: TenantRef, batches: int) -> None:
    for line in (f"{owner.email},Another,", f"{owner.email},,admin", f"{owner.email},Another,owner"):
        job = imported(asking, acme, f"email,name,role\n{line}\n")
        assert job.counts == counts(refused=1)
        assert [(row, column) for row, column, _, _ in problems(acme, job)] == [(2, "email")]
    assert members(acme)[owner.email] == ("Olivia", "owner")


@pytest.mark.parametrize("line", ["{},,", "{},Olivia,", "{},Olivia,owner", "{},,OWNER"])
def test_an_owner_as_they_are_is_unchanged(asking: Api, owner: User, acme: TenantRef, line: str) -> None:
    """The control of the test above."""
    job = imported(asking, acme, f"email,name,role\n{line.format(owner.email.upper())}\n")
    assert job.counts == counts(unchanged=1)
    assert problems(acme, job) == []


@pytest.mark.parametrize("line", ["ann@example.com,,", "ann@example.com", "ann@example.com, ,  "])
def test_an_empty_cell_changes_nothing_of_a_member(asking: Api, acme: TenantRef, line: str) -> None:
    with use_tenant(acme):
        member_create(by=None, email="ann@example.com", name="Ann", role="viewer")
    job = imported(asking, acme, f"email,name,role\n{line}\n")
    assert job.counts == counts(unchanged=1)
    assert members(acme)["ann@example.com"] == ("Ann", "viewer")


def test_a_member_who_was_deactivated_stays_so(asking: Api, acme: TenantRef) -> None:
    with use_tenant(acme):
        member_create(by=None, email="ann@example.com", name="Ann")
        User.objects.filter(email="ann@example.com").update(is_active=False)
    job = imported(asking, acme, "email,name\nann@example.com,Anna\n")
    assert job.counts == counts(updated=1)
    with use_tenant(acme):
        assert not User.objects.get(email="ann@example.com").is_active


def test_cells_are_trimmed(asking: Api, acme: TenantRef) -> None:
    imported(asking, acme, 'email,name\n" ann@example.com ",\u00a0 Ann  Lee\t\n')
    assert members(acme)["ann@example.com"] == ("Ann  Lee", "member")


@pytest.mark.parametrize(
    ("cell", "name"),
    [("'=1+1", "=1+1"), ("''=1", "'=1"), ("'-x", "-x"), ("'tis", "'tis"), ("O'Neill", "O'Neill"), ("=1+1", "=1+1")],
)
def test_the_apostrophe_before_a_formula_is_taken_off(asking: Api, acme: TenantRef, cell: str, name: str) -> None:
    imported(asking, acme, f"email,name\nann@example.com,{cell}\n")
    assert members(acme)["ann@example.com"] == (name, "member")


def test_an_address_that_begins_like_a_formula_is_one(asking: Api, acme: TenantRef) -> None:
    imported(asking, acme, "email\n'+ann@example.com\n-bob@example.com\n")
    assert {"+ann@example.com", "-bob@example.com"} <= set(members(acme))


@pytest.mark.parametrize(
    ("email", "reason"),
    [
        ("nobody", "valid e-mail"),
        ("a b@example.com", "valid e-mail"),
        ("", "required"),
        ("a" * 250 + "@example.com", "at most 254"),
    ],
)
def test_a_bad_address_is_refused(asking: Api, acme: TenantRef, email: str, reason: str) -> None:
    job = imported(asking, acme, f"name,email\nAnn,{email}\n")
    [(row, column, value, why)] = problems(acme, job)
    assert (row, column, value) == (2, "email", email)
    assert reason in why


def test_a_name_that_is_too_long_is_refused(asking: Api, acme: TenantRef) -> None:
    job = imported(asking, acme, f"email,name\nann@example.com,{'x' * 201}\nbob@example.com,{'x' * 200}\n")
    assert [(row, column) for row, column, _, _ in problems(acme, job)] == [(2, "name")]
    assert job.counts == counts(created=1, refused=1)


def test_a_cell_that_can_not_be_stored_is_refused(asking: Api, acme: TenantRef) -> None:
    content = b"\xff\xfe" + "email,name\nann@example.com,A\0nn\nbob@example.com,Bob\n".encode("utf-16-le")
    job = imported(asking, acme, content)
    assert problems(acme, job) == [(2, "name", "A nn", "This holds a character that can't be stored.")]
    assert job.counts == counts(created=1, refused=1)


def test_a_row_with_more_cells_than_the_header_is_refused(asking: Api, acme: TenantRef) -> None:
    job = imported(asking, acme, "email,name\nann@example.com,Lee,Ann\nbob@example.com,Bob,, \n")
    assert job.counts == counts(created=1, refused=1)
    assert problems(acme, job) == [(2, "", "Ann", "This row has more cells than the first line has columns.")]


def test_each_column_at_fault_has_its_line(asking: Api, acme: TenantRef) -> None:
    job = imported(asking, acme, f"email,name,role\nnobody,{'x' * 201},king\n")
    assert [(row, column) for row, column, _, _ in problems(acme, job)] == [(2, "email"), (2, "name"), (2, "role")]
    assert job.counts == counts(refused=1)


def test_rows_are_numbered_as_a_spreadsheet_does(asking: Api, acme: TenantRef, batches: int) -> None:
    content = 'email,name\n\nann@example.com,"two\nlines"\n,\nbad,\n'
    job = imported(asking, acme, content)
    assert [row for row, *_ in problems(acme, job)] == [5]
    assert (job.done, job.total) == (2, 2)


def test_a_quote_that_is_never_closed_fails_the_job_and_takes_nothing(
    asking: Api, acme: TenantRef, batches: int
) -> None:
    before = members(acme)
    job = imported(asking, acme, 'email,name\nann@example.com,Ann\nbob@example.com,"Bob\ncy@example.com,Cy\n')
    assert job.state == "failed"
    assert "Row 3 opens a quotation mark" in job.error
    assert members(acme) == before
    assert problems(acme, job) == []


def test_a_file_with_no_rows_succeeds_with_nothing(asking: Api, acme: TenantRef) -> None:
    job = imported(asking, acme, "email,name\n\n")
    assert (job.state, job.done, job.total) == ("succeeded", 0, 0)


def test_nothing_is_kept_beside_when_it_has_ended(asking: Api, acme: TenantRef) -> None:
    job = imported(asking, acme, "email\nann@example.com\n")
    with use_tenant(acme):
        assert not ImportedRow.objects.exists()
        assert not default_storage.exists(job.input_file)


def test_who_came_by_a_file_has_no_password(asking: Api, acme: TenantRef) -> None:
    imported(asking, acme, "email\nann@example.com\nbob@example.com\n")
    with use_tenant(acme):
        people = list(User.objects.filter(email__in=["ann@example.com", "bob@example.com"]))
    assert [person.has_usable_password() for person in people] == [False, False]
    assert people[0].password != people[1].password
    assert not any(person.is_staff or person.is_superuser for person in people)


def test_the_other_tenant_hears_nothing_of_it(asking: Api, acme: TenantRef, globex: TenantRef) -> None:
    before = members(globex)
    imported(asking, acme, "email\nann@example.com\n")
    assert members(globex) == before
