"""Members go out as a file that holds each of them, by a job or streamed, and come back in unchanged."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import User
from tenants.context import use_tenant
from tests.accounts.conftest import Api, ApiOf
from tests.jobs.conftest import Lasting, body_of, events_of, imported, run, table

COLUMNS = ["id", "email", "name", "role", "is_active", "created_at", "last_login_at"]
NAMES = [
    "Plain",
    "",
    'Comma, "quoted"',
    "two\nlines\r\nhere",
    "=1+1",
    "'=1+1",
    "-x",
    "'tis",
    "Zoë “Z”",
    "back\\slash \\N \\.",
    "\\.",
    "\x01\x02",
]


@pytest.fixture(scope="module")
def people(lasting: Lasting, django_db_blocker: Any) -> list[User]:
    """Everybody of the lasting tenant, oldest first, with names that are hard to write."""
    with django_db_blocker.unblock(), use_tenant(lasting.ref):
        for number, name in enumerate(NAMES):
            person = User.objects.create_user(f"out{number}@example.com", None, name=name, role="viewer")
        User.objects.filter(pk=person.pk).update(is_active=False, last_login=timezone.now())
        return list(User.objects.order_by("created_at", "id"))


def moment(value: datetime | None) -> str:
    return "" if value is None else value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def as_csv(user: User) -> list[str]:
    guard = "'" if user.name.lstrip("'")[:1] in {"=", "-"} and user.name else ""
    active = "true" if user.is_active else "false"
    times = [moment(user.created_at), moment(user.last_login)]
    return [str(user.pk), user.email, guard + user.name, user.role, active, *times]


def as_json(user: User) -> dict[str, Any]:
    return {
        "id": str(user.pk),
        "email": user.email,
        "name": user.name,
        "role": user.role,
        "is_active": user.is_active,
        "created_at": moment(user.created_at),
        "last_login_at": moment(user.last_login) or None,
    }


def lines(content: bytes) -> list[dict[str, Any]]:
    assert content.endswith(b"\n")
    return [json.loads(line) for line in content[:-1].split(b"\n")]


def result(asking: Api, lasting: Lasting, **params: str) -> Any:
    """Have an export made and ask for its file."""
    answer = asking.post("/jobs", {"kind": "members.export", "params": params})
    assert answer.status_code == 202, answer.content
    job = run(lasting.ref, answer.json()["id"])
    assert job.state == "succeeded", job.error
    url = lasting.get(asking, f"/jobs/{job.pk}").json()["result_url"]
    return lasting.get(asking, url.removeprefix("/api/v1"))


def test_a_job_writes_everybody_as_csv(lasting_api: Api, lasting: Lasting, people: list[User]) -> None:
    found = table(body_of(result(lasting_api, lasting, format="csv")))
    assert found == [COLUMNS, *(as_csv(user) for user in people)]


def test_a_job_writes_everybody_as_ndjson(lasting_api: Api, lasting: Lasting, people: list[User]) -> None:
    assert lines(body_of(result(lasting_api, lasting, format="ndjson"))) == [as_json(user) for user in people]


def test_the_streamed_files_hold_what_the_jobs_do(lasting_api: Api, lasting: Lasting, people: list[User]) -> None:
    csv = body_of(lasting.get(lasting_api, "/members.csv"))
    assert csv == body_of(result(lasting_api, lasting, format="csv"))
    ndjson = body_of(lasting.get(lasting_api, "/members.ndjson"))
    assert ndjson == body_of(result(lasting_api, lasting, format="ndjson"))


@pytest.mark.parametrize(
    ("path", "content_type"),
    [("/members.csv", "text/csv; charset=utf-8"), ("/members.ndjson", "application/x-ndjson")],
)
def test_a_streamed_file_is_to_be_saved_and_kept_by_nobody_else(
    lasting_api: Api, lasting: Lasting, people: list[User], path: str, content_type: str
) -> None:
    answer = lasting.get(lasting_api, path)
    assert answer.status_code == 200
    assert answer["Content-Type"] == content_type
    assert answer["Content-Disposition"] == f'attachment; filename="{path[1:]}"'
    assert answer["Cache-Control"] == "no-store"
    assert answer["X-Content-Type-Options"] == "nosniff"
    body_of(answer)


def test_a_jobs_file_is_to_be_saved_and_kept_by_nobody_else(
    lasting_api: Api, lasting: Lasting, people: list[User]
) -> None:
    answer = result(lasting_api, lasting, format="csv")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/csv")
    assert answer["Content-Disposition"] == 'attachment; filename="members.csv"'
    assert answer["Cache-Control"] == "no-store"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert int(answer["Content-Length"]) == len(body_of(answer))


@pytest.mark.parametrize(
    ("query", "expected"),
    [("q=ZO%C3%8B", [8]), ("q=out1", [1, 10, 11]), ("role=owner", []), ("q=%25", []), ("q=out1&role=viewer", [1, 10, 11])],
)  # fmt: skip
def test_a_filter_leaves_the_others_out(
    lasting_api: Api, lasting: Lasting, people: list[User], query: str, expected: list[int]
) -> None:
    found = table(body_of(lasting.get(lasting_api, f"/members.csv?{query}")))
    wanted = [f"out{number}@example.com" for number in expected] or (
        [lasting.owner.email] if query == "role=owner" else []
    )
    assert [row[1] for row in found] == ["email", *wanted]


def test_a_job_takes_the_same_filter(lasting_api: Api, lasting: Lasting, people: list[User]) -> None:
    found = table(body_of(result(lasting_api, lasting, format="csv", q="out1", role="viewer")))
    assert [row[1] for row in found[1:]] == ["out1@example.com", "out10@example.com", "out11@example.com"]


def test_a_filter_that_finds_nobody_gives_the_header_alone(
    lasting_api: Api, lasting: Lasting, people: list[User]
) -> None:
    assert table(body_of(lasting.get(lasting_api, "/members.csv?q=nobody"))) == [COLUMNS]
    assert body_of(lasting.get(lasting_api, "/members.ndjson?q=nobody")) == b""
    assert table(body_of(result(lasting_api, lasting, q="nobody"))) == [COLUMNS]


@pytest.mark.parametrize("query", ["?role=king", "?q=" + "x" * 201])
def test_what_can_not_be_asked_is_422(lasting_api: Api, query: str) -> None:
    assert lasting_api.get(f"/members.csv{query}").status_code == 422


def test_a_token_needs_the_scope(api: ApiOf, owner: User) -> None:
    asking = api(owner, scopes=["jobs.read"])
    assert {asking.get(path).status_code for path in ("/members.csv", "/members.ndjson")} == {403}


def test_what_was_exported_is_imported_with_nothing_changed(
    lasting_api: Api, lasting: Lasting, people: list[User]
) -> None:
    content = body_of(result(lasting_api, lasting, format="csv"))
    job = imported(lasting_api, lasting.ref, content)
    assert job.counts == {"created": 0, "updated": 0, "unchanged": len(people), "refused": 0}
    with use_tenant(lasting.ref):
        assert list(User.objects.order_by("created_at", "id").values()) == [
            {field: getattr(user, field) for field in values}
            for user, values in zip(people, User.objects.order_by("created_at", "id").values(), strict=True)
        ]


def test_an_export_records_its_start_and_its_end(lasting_api: Api, lasting: Lasting, people: list[User]) -> None:
    job_id = lasting_api.post("/jobs", {"kind": "members.export"}).json()["id"]
    job = run(lasting.ref, job_id)
    assert (job.done, job.total, job.counts) == (len(people), len(people), {"rows": len(people)})
    started, ended = events_of(lasting.ref, job_id)
    assert [started["action"], ended["action"]] == ["job.started", "job.succeeded"]
    assert ended["data"]["counts"] == {"rows": len(people)}
    assert ended["data"]["file"] == "members.csv"


def test_a_job_without_a_file_has_none_to_download(api: ApiOf, owner: User) -> None:
    asking = api(owner)
    job = asking.post("/jobs", {"kind": "members.export"}).json()
    assert job["result_url"] is None
    assert asking.get(f"/jobs/{job['id']}/result").status_code == 404


def test_a_file_that_was_thrown_away_is_404(lasting_api: Api, lasting: Lasting, people: list[User]) -> None:
    job_id = lasting_api.post("/jobs", {"kind": "members.export"}).json()["id"]
    job = run(lasting.ref, job_id)
    with use_tenant(lasting.ref):
        from activity.jobs import files

        files.delete_all(job.pk)
    assert lasting.get(lasting_api, f"/jobs/{job_id}/result").status_code == 404


def test_a_members_right_to_read_suffices_for_the_file(lasting: Lasting, api: ApiOf, people: list[User]) -> None:
    """Whoever may read the members may read what was made of them; a token that may not is refused."""
    with use_tenant(lasting.ref):
        reader = User.objects.get(email="out0@example.com")
    job_id = api(lasting.owner, lasting.ref).post("/jobs", {"kind": "members.export"}).json()["id"]
    run(lasting.ref, job_id)
    answer = lasting.get(api(reader, lasting.ref), f"/jobs/{job_id}/result")
    assert (answer.status_code, len(table(body_of(answer)))) == (200, len(people) + 1)
    narrow = api(lasting.owner, lasting.ref, scopes=["jobs.read"])
    assert lasting.get(narrow, f"/jobs/{job_id}/result").status_code == 403
