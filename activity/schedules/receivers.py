"""What schedules do when a person is erased."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db import transaction
from django.dispatch import receiver

from activity.erasure.signals import person_erased
from activity.personal import ERASED
from activity.schedules.models import Schedule
from tenants import subject_keys
from tenants.context import current
from tenants.refs import TenantRef


@receiver(person_erased, dispatch_uid="schedules.forget_makers")
def forget_makers(*, subjects: Collection[str], **_: Any) -> None:
    """Take the erased person's name from the schedules that they made, which no longer run."""
    ref = current()
    if not isinstance(ref, TenantRef):  # control has none
        return
    with transaction.atomic():  # somebody may be taking one over
        for schedule in Schedule.objects.select_for_update().exclude(actor__name=ERASED):
            actor = schedule.actor
            if subject_keys.digest(ref, f"{actor['type']}:{actor['id']}") in subjects:
                schedule.actor = {**actor, "name": ERASED}
                schedule.save(update_fields=["actor"])
