"""The tables of the outbox, in each tenant's database and in control; and the log itself, which is in MongoDB."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.db.models.functions import Now

from tenants.errors import NoTenant
from tenants.refs import Ref


class OutboxEvent(models.Model):
    """An event that isn't in the log yet. `id` is the order of recording; `seq` the number in the log, once the relay gave it one."""

    id = models.BigAutoField(primary_key=True)
    event_id = models.UUIDField(unique=True)
    document = models.JSONField()
    seq = models.BigIntegerField(null=True)
    recorded_at = models.DateTimeField(db_default=Now())

    # What is about to be deleted must be what is there.
    reads_from_primary: ClassVar[bool] = True

    class Meta:
        constraints = [
            # Partial, so that a long backlog, which has no numbers yet, costs it nothing; the relay finds the numbered rows by it.
            models.UniqueConstraint(
                fields=["seq"], condition=models.Q(seq__isnull=False), name="outbox_event_seq_unique"
            ),
        ]

    def __str__(self) -> str:
        return str(self.event_id)


class LogHead(models.Model):
    """How far the log goes, in one row: `seq` is the last number given, `appended` the last one that MongoDB has acknowledged.

    All events up to `appended` are in the log, without a gap; readers go no further.
    """

    ID: ClassVar[int] = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=ID)
    seq = models.BigIntegerField(default=0)
    appended = models.BigIntegerField(default=0)

    # An event is to be seen at once, not when a replica has heard of it.
    reads_from_primary: ClassVar[bool] = True

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="log_head_single_row")]

    def __str__(self) -> str:
        return f"{self.appended} of {self.seq}"


class KnownEvent(models.Model):
    """The id of an event that was sent in from outside, kept for a while, so that a repeat is known with MongoDB up or away."""

    event_id = models.UUIDField(primary_key=True)
    # Without an index: it is asked for once a day, by who throws the old ones away, and each sender would pay for it.
    recorded_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return str(self.event_id)


class IngestDay(models.Model):
    """How many events the tenant's product has sent in on a day (of UTC), where its plan limits that."""

    day = models.DateField(primary_key=True)
    accepted = models.BigIntegerField()

    # Counted on, and so what is there.
    reads_from_primary: ClassVar[bool] = True

    def __str__(self) -> str:
        return f"{self.day}: {self.accepted}"


class LoggedEventManager(models.Manager["LoggedEvent"]):
    """Can't be asked without a tenant: all tenants share the collection."""

    def get_queryset(self) -> models.QuerySet[LoggedEvent]:
        raise NoTenant("The activity log")

    def for_tenant(self, ref: Ref) -> models.QuerySet[LoggedEvent]:
        """The events of this tenant, or of control. Narrow it by ranges of `seq`, which has no gaps; sorting it all is slow."""
        return super().get_queryset().filter(tenant=ref.id)


class LoggedEvent(models.Model):
    """An event of the log, read-only, for the operators' admin. `activity.log` is how everything else reads and writes it."""

    id = models.CharField(primary_key=True, max_length=80, db_column="_id")
    tenant = models.CharField(max_length=36)
    seq = models.BigIntegerField()
    at = models.DateTimeField()
    action = models.CharField(max_length=100)
    actor = models.JSONField()
    target = models.JSONField(null=True)
    source = models.CharField(max_length=10)
    request_id = models.CharField(max_length=200, null=True)  # noqa: DJ001  null as it is in the document
    ip = models.CharField(max_length=200, null=True)  # noqa: DJ001
    data = models.JSONField()
    terms = models.JSONField()

    objects: ClassVar[LoggedEventManager] = LoggedEventManager()

    # The alias that the router gives.
    database: ClassVar[str] = "mongo"

    class Meta:
        managed = False
        db_table = "activity_events"
        verbose_name = "activity event"

    def __str__(self) -> str:
        return f"{self.seq} {self.action}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Refuse: the log is appended to by the relay alone."""
        raise TypeError("The activity log can't be edited.")

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Refuse: nothing leaves the log by hand."""
        raise TypeError("The activity log can't be edited.")
