"""Parquet: each value with its type, whole however many groups of rows there are."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import orjson
import pyarrow
import pytest
from pyarrow import parquet

from accounts.models import User
from activity.jobs import parquet_files
from activity.jobs.parquet_files import ParquetFile
from tenants.context import use_tenant
from tests.accounts.conftest import Api
from tests.jobs.conftest import Lasting, body_of, run


def line(number: int) -> bytes:
    return orjson.dumps({"name": f"Zoë {number}", "seen": None}) + b"\n"


def test_many_groups_are_one_file() -> None:
    file = io.BytesIO()
    with ParquetFile(file, {"name": "text", "seen": "moment"}, group=1_000) as made:
        for number in range(100):
            made.write(line(number))
    found = parquet.ParquetFile(file)
    assert found.metadata.num_row_groups > 2
    assert found.read().column("name").to_pylist() == [f"Zoë {number}" for number in range(100)]
    assert str(found.schema_arrow.field("seen").type) == "timestamp[us, tz=UTC]"


def test_none_at_all_is_a_file_with_its_columns() -> None:
    file = io.BytesIO()
    with ParquetFile(file, {"name": "text"}):
        pass
    assert parquet.ParquetFile(file).schema_arrow.names == ["name"]


def test_a_field_that_nobody_named_is_refused() -> None:
    with pytest.raises(pyarrow.ArrowInvalid), ParquetFile(io.BytesIO(), {"name": "text"}) as made:
        made.write(line(1))


def test_members_as_parquet(lasting: Lasting, lasting_api: Api) -> None:
    with use_tenant(lasting.ref):
        User.objects.create_user("formula@example.com", None, name='=1+1 "quoted"\n', role="viewer")
        User.objects.filter(email="formula@example.com").update(created_at=datetime(2026, 1, 31, 12, 30, 0, 5, UTC))
        count = User.objects.count()
    answer = lasting_api.post("/jobs", {"kind": "members.export", "params": {"format": "parquet"}})
    job = run(lasting.ref, answer.json()["id"])
    assert (job.state, job.done, job.result_name) == ("succeeded", count, "members.parquet"), job.error
    file = lasting.get(lasting_api, f"/jobs/{job.pk}/result")
    assert file["Content-Type"] == "application/vnd.apache.parquet"
    rows = parquet.ParquetFile(io.BytesIO(body_of(file))).read().to_pylist()
    assert len(rows) == count
    (found,) = [row for row in rows if row["email"] == "formula@example.com"]
    assert (found["name"], found["role"], found["is_active"]) == ('=1+1 "quoted"\n', "viewer", True)
    assert (found["created_at"], found["last_login_at"]) == (datetime(2026, 1, 31, 12, 30, 0, 5, UTC), None)


def test_where_it_is_not_installed_a_sentence_says_so(lasting_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_files, "find_spec", lambda name: None)
    answer = lasting_api.post("/jobs", {"kind": "members.export", "params": {"format": "parquet"}})
    assert answer.status_code == 422
    (sentence,) = answer.json()["errors"]["params.format"]
    assert sentence == "Parquet isn't installed on this server (pyarrow). Use csv, ndjson or xlsx."
