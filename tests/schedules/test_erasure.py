"""Who is erased is no longer named by the schedules that they made."""

from __future__ import annotations

from django.db import transaction

from accounts.models import User
from activity.erasure.forget import forget
from activity.schedules.models import Schedule
from tenants import subject_keys
from tenants.refs import TenantRef
from tests.schedules.conftest import make


def test_only_the_erased_person_s_name_goes(tenant: TenantRef, owner: User, admin: User) -> None:
    theirs, other = make(admin), make(owner)
    with transaction.atomic():
        forget([subject_keys.digest(tenant, f"member:{admin.pk}")])
    names = {schedule.pk: schedule.actor["name"] for schedule in Schedule.objects.all()}
    assert names == {theirs.pk: "Erased", other.pk: "Olivia"}
    assert Schedule.objects.get(pk=theirs.pk).actor["id"] == str(admin.pk)
