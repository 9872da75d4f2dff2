"""A third-party app that is added to the settings gets its tables in the template, in every tenant, and in new ones."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from tests.lifecycle.conftest import Manage, primary_url

MAKE = """
from tenants.lifecycle.provision import provision_tenant
for slug in {slugs}:
    print(provision_tenant(slug=slug, name=slug)[0].database)
"""
TAGS = "from taggit.models import Tag; print(Tag.objects.count())"
WITH_TAGGIT = {"TENANT_APPS": "taggit"}


def administrator(database: str) -> psycopg.Connection[Any]:
    return psycopg.connect(primary_url(), dbname=database, autocommit=True)


@pytest.fixture(scope="module")
def databases(manage: Manage) -> list[str]:
    """Three tenants from before the app; the first has a table in the way of one of the app's."""
    made = manage("shell", "--no-imports", "-c", MAKE.format(slugs=["broken", "hooli", "initech"])).split()
    with administrator(made[0]) as connection:
        connection.execute("CREATE TABLE taggit_tag ()")
    return made


def test_it_arrives_everywhere_and_one_that_fails_is_named(manage: Manage, databases: list[str]) -> None:
    status = manage.facts("fleet_status", **WITH_TAGGIT)
    assert [(server["template"], server["current"], server["behind"]) for server in status["servers"]] == [
        ("behind", 0, 3)
    ]

    process = manage.start("prepare", "--json", **WITH_TAGGIT)
    out, error = process.communicate(timeout=120)
    facts = json.loads(out)
    assert process.returncode == 1
    assert error.splitlines()[-1] == "1 of 3 tenants could not be migrated."
    assert facts["templates"].keys() == {"local"}
    assert facts["migrated"] == ["hooli", "initech"]
    assert "taggit_tag" in facts["failed"]["broken"]

    with administrator(databases[0]) as connection:
        connection.execute("DROP TABLE taggit_tag")
    both = [manage.start("fleet_migrate", **WITH_TAGGIT) for _ in range(2)]
    for process in both:
        out, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
    assert "Every tenant is at this schema" in manage("fleet_migrate", **WITH_TAGGIT)

    manage("shell", "--no-imports", "-c", MAKE.format(slugs=["new-one"]), **WITH_TAGGIT)
    counts = manage.facts("tenant_run", "--all", "shell", "--no-imports", "-c", TAGS, **WITH_TAGGIT)
    assert {fact["tenant"]: fact["output"] for fact in counts} == dict.fromkeys(
        ("broken", "hooli", "initech", "new-one"), "0\n"
    )
