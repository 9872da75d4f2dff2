"""The cast: two tenants, acme and globex, equal in all but name; and the people in them."""

from __future__ import annotations

import pytest

from tenants.refs import TenantRef

pytest_plugins = ["tenants.testing"]


@pytest.fixture
def committed_tenant(django_db_setup: None) -> TenantRef:
    """`acme` without the rollback, for tests of connections themselves, which must write nothing that stays."""
    from tenants.testing import prepare_tenants

    return prepare_tenants()["acme"]
