"""The tables of the outbox, in each tenant's database and in control; and the log itself, which is in MongoDB."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models.functions import Lower, Now

from tenants.errors import NoTenant
from tenants.ids import new_id
from tenants.refs import Ref


class OutboxEvent(models.Model):
    """An event that isn't in the log yet. `id` is the order of recording; `seq` the number in the log, once the relay gave it one.

    `hash`, given with it, ties the event to the one before (activity.chain).
    """

    id = models.BigAutoField(primary_key=True)
    event_id = models.UUIDField(unique=True)
    document = models.JSONField()
    seq = models.BigIntegerField(null=True)
    hash = models.BinaryField(null=True)
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

    All events from `first` to `appended` are in the log, without a gap; readers go no further. What was before `first` has left it by age.
    `hash` is the link of event `seq`. `route` is where the tenant's database was when the chain's segment, number `segment`, was opened.
    """

    ID: ClassVar[int] = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=ID)
    seq = models.BigIntegerField(default=0)
    appended = models.BigIntegerField(default=0)
    first = models.BigIntegerField(default=1, db_default=1)
    hash = models.BinaryField(default=bytes, db_default=b"")
    segment = models.PositiveIntegerField(default=0, db_default=0)
    route = models.CharField(max_length=100, blank=True, default="", db_default="")
    # Days for which the tenant itself keeps events; None: as long as its plan does.
    keep_days = models.PositiveIntegerField(null=True)

    # An event is to be seen at once, not when a replica has heard of it.
    reads_from_primary: ClassVar[bool] = True

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="log_head_single_row")]

    def __str__(self) -> str:
        return f"{self.appended} of {self.seq}"


class Statement(models.Model):
    """A signed statement about the log. What it says is in its bytes alone; the columns are to find it by."""

    statement = models.BinaryField()
    key = models.CharField(max_length=100)
    signature = models.BinaryField()
    at = models.DateTimeField(db_default=Now())

    reads_from_primary: ClassVar[bool] = True

    class Meta:
        abstract = True


class LogSegment(Statement):
    """A segment of the chain: a new one begins where the log and this database may have parted (another route, a restore)."""

    number = models.PositiveIntegerField(primary_key=True)
    first = models.BigIntegerField()

    def __str__(self) -> str:
        return f"segment {self.number} from {self.first}"


class LogCheckpoint(Statement):
    """The chain's hash after `last`. The newest one grows until it spans enough; `at` is when it last grew, `opened_at` when it began.

    It stays when its events leave the log by age; its `prints` (the beginnings of their links) go with them.
    """

    last = models.BigIntegerField(primary_key=True)
    first = models.BigIntegerField()
    segment = models.PositiveIntegerField()
    hash = models.BinaryField()
    prints = models.BinaryField(default=bytes)
    opened_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["at"], name="log_checkpoint_at")]

    def __str__(self) -> str:
        return f"{self.first} to {self.last}"


class KnownEvent(models.Model):
    """The id of an event that was sent in from outside, kept for a while, so that a repeat is known with MongoDB up or away."""

    event_id = models.UUIDField(primary_key=True)
    # Without an index: it is asked for once a day, by who throws the old ones away, and each sender would pay for it.
    recorded_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return str(self.event_id)


class Rollup(models.Model):
    """How many events of an action, or by an actor (as type:id), lie in an hour or in a day of UTC.

    A row of hours and one of days add up: hours that are old enough were, or will be, folded into their day.
    """

    class Series(models.IntegerChoices):
        ACTION_HOURS = 1
        ACTION_DAYS = 2
        ACTOR_DAYS = 3

    pk = models.CompositePrimaryKey("series", "start", "name")
    series = models.SmallIntegerField(choices=Series.choices)
    start = models.DateTimeField()
    name = models.CharField(max_length=251)
    events = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.events} of {self.name} at {self.start}"


class RollupHead(models.Model):
    """What the rollups count, in one row: the events numbered `first` to `last`, each once, and no other.

    The log begins at `bottom`. Where `first` lies above it, older events are still to be counted (activity.rollups.catch_up).
    """

    ID: ClassVar[int] = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=ID)
    bottom = models.BigIntegerField(default=1)
    first = models.BigIntegerField()
    last = models.BigIntegerField()

    # What is decided by it must be what is there.
    reads_from_primary: ClassVar[bool] = True

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="rollup_head_single_row")]

    def __str__(self) -> str:
        return f"{self.first} to {self.last}"


class SavedSearch(models.Model):
    """Filters of the activity log under a name. It goes with its owner; a shared one is everybody's to use."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="saved_searches")
    name = models.CharField(max_length=80)
    query = models.JSONField()  # filters by the API's names, as texts
    is_shared = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now())

    # Whoever has just saved one looks for it next.
    reads_from_primary: ClassVar[bool] = True

    class Meta:
        constraints = [models.UniqueConstraint("owner", Lower("name"), name="saved_search_name_unique")]
        indexes = [models.Index(fields=["created_at", "id"], name="saved_search_created")]

    def __str__(self) -> str:
        return self.name


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
