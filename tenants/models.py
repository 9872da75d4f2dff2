"""The registry, in the control database: servers, and which tenant lives where."""

from __future__ import annotations

from sys import intern

from django.db import models
from django.db.models.functions import Lower, Now

from tenants import crypto
from tenants.ids import new_id
from tenants.refs import TenantRef


class Server(models.Model):
    """One Postgres primary and its replicas. `url` is an administrator's, kept encrypted."""

    name = models.SlugField(primary_key=True, max_length=40)
    encrypted_url = models.BinaryField(editable=False)
    is_open = models.BooleanField("open for new tenants", default=True)
    template_version = models.CharField(max_length=64, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def url(self) -> str:
        return crypto.decrypt(self.encrypted_url, associated=f"server:{self.name}").decode()

    @url.setter
    def url(self, url: str) -> None:
        self.encrypted_url = crypto.encrypt(url, associated=f"server:{self.name}")


class Replica(models.Model):
    """A streaming replica of a server."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    server = models.ForeignKey(Server, models.CASCADE, related_name="replicas")
    name = models.SlugField(max_length=40)
    encrypted_url = models.BinaryField(editable=False)

    class Meta:
        ordering = ["server", "name"]
        constraints = [models.UniqueConstraint(fields=["server", "name"], name="replica_name_unique")]

    def __str__(self) -> str:
        return f"{self.server_id}/{self.name}"

    @property
    def url(self) -> str:
        return crypto.decrypt(self.encrypted_url, associated=f"replica:{self.server_id}/{self.name}").decode()

    @url.setter
    def url(self, url: str) -> None:
        self.encrypted_url = crypto.encrypt(url, associated=f"replica:{self.server_id}/{self.name}")


class Tenant(models.Model):
    """An organisation and the route to its database. Every change of the route raises `epoch`."""

    class State(models.TextChoices):
        PROVISIONING = "provisioning"
        ACTIVE = "active"
        SUSPENDED = "suspended"
        DELETING = "deleting"

    class Plan(models.TextChoices):
        FREE = "free"
        TEAM = "team"
        BUSINESS = "business"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    slug = models.SlugField(max_length=40, unique=True)
    name = models.CharField(max_length=200)
    state = models.CharField(max_length=20, choices=State.choices, default=State.PROVISIONING)
    plan = models.CharField(max_length=20, choices=Plan.choices, default=Plan.FREE)
    time_zone = models.CharField(max_length=64, default="UTC", db_default="UTC")  # an IANA name (tenants.time_zones)
    epoch = models.PositiveIntegerField(default=1, editable=False)
    server = models.ForeignKey(Server, models.PROTECT, related_name="tenants")
    database = models.CharField(max_length=63, unique=True, editable=False)
    role = models.CharField(max_length=63, editable=False)
    encrypted_password = models.BinaryField(editable=False)
    schema_version = models.CharField(max_length=64, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["slug"]
        indexes = [models.Index(fields=["schema_version"]), models.Index(fields=["created_at", "id"])]

    def __str__(self) -> str:
        return self.slug

    def set_password(self, password: str) -> None:
        """Encrypt the password of the tenant's Postgres role. The tenant's id must be set."""
        self.encrypted_password = crypto.encrypt(password, associated=f"tenant:{self.id}")

    def ref(self) -> TenantRef:
        """The frozen value that the rest of the system works with. A process keeps one of each tenant, so equal words are shared."""
        return TenantRef(
            id=str(self.id),
            slug=self.slug,
            name=self.name,
            plan=intern(str(self.plan)),
            state=intern(str(self.state)),
            epoch=self.epoch,
            server=intern(self.server_id),
            database=self.database,
            role=self.role,
            password=crypto.decrypt(self.encrypted_password, associated=f"tenant:{self.id}").decode(),
            schema_version=intern(self.schema_version),
        )


class Domain(models.Model):
    """A host name of a tenant's own. It counts once it is verified."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    host = models.CharField(max_length=253)
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="domains")
    is_verified = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["host"]
        constraints = [models.UniqueConstraint(Lower("host"), name="domain_host_unique")]

    def __str__(self) -> str:
        return self.host


class JobSummary(models.Model):
    """A tenant's job (or one of control's, without a tenant) as operators and the sweeper see it; the job itself is in its own database.

    It is written before the job is, so that no job exists unseen; one whose job never came to be is removed by the sweeper.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    tenant = models.ForeignKey(Tenant, models.CASCADE, null=True, related_name="jobs")
    kind = models.CharField(max_length=100)
    state = models.CharField(max_length=10, default="queued")
    done = models.BigIntegerField(default=0)
    error = models.TextField(blank=True)
    priority = models.SmallIntegerField(db_default=0)
    worker = models.CharField(
        max_length=300, blank=True, db_default=""
    )  # who took it last: Celery's name of it and the process
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)
    # Postgres's time: of one that is queued, when it may be had; of one that runs, when the sweeper looks after it next.
    due_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = "job"
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["due_at"], condition=models.Q(finished_at=None), name="job_summary_due"),
            models.Index(fields=["created_at", "id"], name="job_summary_created"),
            # What a tenant has waiting, in the order in which it is done.
            models.Index(
                "tenant", models.F("priority").desc(), "created_at", "id",
                condition=models.Q(state="queued"), name="job_summary_waiting",
            ),
            models.Index(fields=["tenant"], condition=models.Q(state="running"), name="job_summary_running"),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"

    @property
    def process(self) -> str:
        """The id of the process that took it last."""
        return self.worker.rpartition(" ")[2]


class JobTurn(models.Model):
    """When a tenant's jobs (or control's) have their turn: whoever has had the least of its share is next (activity.jobs.turns)."""

    owner = models.CharField(max_length=36, primary_key=True)  # the tenant's id, or control's
    tenant = models.OneToOneField(Tenant, models.CASCADE, null=True, related_name="job_turn")
    # Its virtual time: how many jobs it was given, each divided by the weight of its plan.
    turn = models.FloatField(default=0.0)
    is_waiting = models.BooleanField(default=False)
    is_full = models.BooleanField(default=False)  # as many of its jobs run as may at once
    is_paused = models.BooleanField(default=False)  # by an operator

    class Meta:
        verbose_name = "turn"
        ordering = ["turn", "owner"]
        indexes = [
            models.Index(
                fields=["turn", "owner"],
                condition=models.Q(is_waiting=True, is_full=False, is_paused=False),
                name="job_turn_next",
            ),
            models.Index(fields=["turn"], name="job_turn_turn"),
        ]

    def __str__(self) -> str:
        return self.owner


class JobPause(models.Model):
    """A kind of job that operators have paused: none of it begins in any tenant."""

    kind = models.CharField(max_length=100, primary_key=True)
    paused_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = "paused kind"
        ordering = ["kind"]

    def __str__(self) -> str:
        return self.kind


class UsageDay(models.Model):
    """What a tenant used on a day of UTC. Counted numbers grow (tenants.usage); measured ones are what was last found (activity.usage).

    No constraint of a foreign key: a flush waits for nobody who works on a tenant's row, and what it writes of a tenant that is being
    deleted is in nobody's way.
    """

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="usage_days", db_constraint=False, db_index=False)
    day = models.DateField()
    requests = models.BigIntegerField(db_default=0)
    job_seconds = models.FloatField("seconds of jobs", db_default=0.0)
    members = models.BigIntegerField(null=True)
    events = models.BigIntegerField(null=True)
    storage_bytes = models.BigIntegerField("bytes of storage", null=True)
    others = models.JSONField(db_default=models.Value({}, models.JSONField()))  # meters of other apps, by name
    visited_at = models.DateTimeField(null=True)  # when somebody last set out to measure it
    measured_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "day of usage"
        verbose_name_plural = "usage by day"
        ordering = ["-day", "-id"]
        constraints = [models.UniqueConstraint(fields=["tenant", "day"], name="usage_day_once")]
        indexes = [models.Index(fields=["day", "id"], name="usage_day_day")]

    def __str__(self) -> str:
        return f"{self.tenant_id} on {self.day}"


class UsageWriter(models.Model):
    """A process that counts usage, and the number of the last batch that was taken from it (tenants.usage)."""

    id = models.UUIDField(primary_key=True, editable=False)
    number = models.BigIntegerField()
    flushed_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.number} of {self.id}"


class SystemSchedule(models.Model):
    """One of the system's own schedules, and when a beat sent it last (tenants.system_schedules)."""

    name = models.CharField(primary_key=True, max_length=100)
    sent_at = models.DateTimeField()  # by the clock of that beat

    def __str__(self) -> str:
        return self.name


class WebhookSchedule(models.Model):
    """When a tenant's webhooks are looked after next. A tenant that has nothing to send has no row (activity.webhooks.schedule)."""

    tenant = models.OneToOneField(Tenant, models.CASCADE, primary_key=True, related_name="webhook_schedule")
    due_at = models.DateTimeField(db_index=True)  # Postgres's time

    def __str__(self) -> str:
        return str(self.tenant_id)


class JobSchedule(models.Model):
    """When a tenant's own schedules are looked after next. A tenant without schedules has no row (activity.schedules.due)."""

    tenant = models.OneToOneField(Tenant, models.CASCADE, primary_key=True, related_name="job_schedule")
    due_at = models.DateTimeField(db_index=True)  # Postgres's time

    class Meta:
        verbose_name = "organisation's schedules"
        verbose_name_plural = "organisations' schedules"
        ordering = ["due_at"]

    def __str__(self) -> str:
        return str(self.tenant_id)


class ServerBudget(models.Model):
    """How many connections the processes may lease at an endpoint; the row that they lock to share them (tenants.db.budget)."""

    endpoint = models.CharField(primary_key=True, max_length=300)
    server_limit = models.PositiveIntegerField(null=True)

    class Meta:
        ordering = ["endpoint"]

    def __str__(self) -> str:
        return self.endpoint


class Lease(models.Model):
    """What one pool of one process may open at an endpoint. It counts while the process's session with control lives.

    `wanted` is what its borrowers could use. `backend` and `backend_start` name the session.
    """

    budget = models.ForeignKey(ServerBudget, models.CASCADE, related_name="leases")
    holder = models.UUIDField()
    process = models.CharField(max_length=100)
    size = models.PositiveIntegerField()
    wanted = models.PositiveIntegerField()
    backend = models.IntegerField()
    backend_start = models.DateTimeField()
    renewed_at = models.DateTimeField()

    class Meta:
        ordering = ["budget", "process"]
        constraints = [models.UniqueConstraint(fields=["budget", "holder"], name="lease_once")]

    def __str__(self) -> str:
        return f"{self.size} of {self.budget_id} for {self.process}"


class SubjectKey(models.Model):
    """The key by which a person's fields in an owner's events are encrypted; null once that person was erased (tenants.subject_keys).

    `owner` is the id of a tenant, or of control; no foreign key, since a key is made while somebody else may hold the tenant's row.
    `subject` is the person's digest; the row of the empty one has the key by which the owner's digests are made.
    """

    pk = models.CompositePrimaryKey("owner", "subject")
    owner = models.CharField(max_length=36)
    subject = models.CharField(max_length=32)
    encrypted_key = models.BinaryField(null=True, editable=False)
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"key of {self.subject or 'digests'} of {self.owner}"


class Erasure(models.Model):
    """A person who was erased from an owner's events: the ledger, which every restore replays. It is kept as long as the owner is."""

    owner = models.CharField(max_length=36)
    subject = models.CharField("person (digest)", max_length=32)
    erased_by = models.CharField(max_length=260)
    erased_at = models.DateTimeField(db_default=Now())
    # When the last of their words had left the index; null while that is still to be done.
    finished_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "erased person"
        ordering = ["-erased_at", "-id"]
        constraints = [models.UniqueConstraint(fields=["owner", "subject"], name="erasure_once")]

    def __str__(self) -> str:
        return f"{self.subject} of {self.owner}"
