"""People and what they sign in with. Members live in their tenant's database, operators in control."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.crypto import salted_hmac

from accounts.roles import Role
from tenants.ids import new_id


class UserManager(BaseUserManager["User"]):
    """Users by e-mail address, compared without case as Postgres compares."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        """A new user; without a password none can be used to sign in until one is set."""
        user = self.model(email=email, **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        """An operator with all rights."""
        return self.create_user(
            email, password, **{"is_staff": True, "is_superuser": True, "role": Role.OWNER, **fields}
        )

    def by_email(self, email: str) -> User | None:
        """The user with the address, or None; read from the primary, since rights depend on it."""
        return self.using("default").filter(email__lower=Lower(models.Value(email))).first()

    def get_by_natural_key(self, email: str | None) -> User:
        return self.get(email__lower=Lower(models.Value(email)))


class User(AbstractBaseUser, PermissionsMixin):
    """A member of the active tenant or, in control, an operator (`is_staff`)."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    email = models.EmailField("e-mail address", max_length=254)
    name = models.CharField(max_length=200, blank=True)
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.MEMBER)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False, help_text="An operator, who may use the control host.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # Sessions carry a hash of it: raising it ends all of them at once, without looking for them.
    session_epoch = models.PositiveIntegerField(default=0, editable=False)

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    objects: ClassVar[UserManager] = UserManager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                Lower("email"),
                name="user_email_unique",
                violation_error_message="A member with this e-mail address is already here.",
            )
        ]
        indexes = [
            models.Index(fields=["created_at", "id"], name="user_created"),
            # Few, and asked for with each batch of an import.
            models.Index(Lower("email"), condition=models.Q(role="owner"), name="user_owner"),
        ]

    def __str__(self) -> str:
        return self.email

    def get_full_name(self) -> str:
        return self.name or self.email

    def get_short_name(self) -> str:
        return self.name or self.email

    def _get_session_auth_hash(self, secret: Any = None) -> str:
        salt = "accounts.models.User.session_auth_hash"
        return salted_hmac(salt, f"{self.session_epoch}:{self.password}", secret=secret, algorithm="sha256").hexdigest()


# `email__lower` compares in Postgres on both sides and is served by the unique index.
User._meta.get_field("email").register_lookup(Lower)


class Invitation(models.Model):
    """An e-mail that lets its reader become a member. The link's secret is kept as a hash alone."""

    LIFETIME: ClassVar[timedelta] = timedelta(days=7)

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    email = models.EmailField("e-mail address", max_length=254)
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.MEMBER)
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    invited_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="invitations_sent", editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, editable=False)
    revoked_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                Lower("email"),
                condition=models.Q(accepted_at=None, revoked_at=None),
                name="invitation_open_once",
            )
        ]
        indexes = [models.Index(fields=["created_at", "id"], name="invitation_created")]

    def __str__(self) -> str:
        return f"invitation of {self.email}"

    @property
    def state(self) -> str:
        """pending, accepted, revoked or expired."""
        if self.accepted_at:
            return "accepted"
        if self.revoked_at:
            return "revoked"
        return "pending" if self.expires_at > timezone.now() else "expired"


Invitation._meta.get_field("email").register_lookup(Lower)


class ApiToken(models.Model):
    """A secret that acts for its user through the API. Shown once; kept as SHA-256, which is enough for 256 random bits."""

    reads_from_primary: ClassVar[bool] = True

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="api_tokens", editable=False)
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=16, editable=False)
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, editable=False)
    revoked_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        indexes = [models.Index(fields=["user", "created_at", "id"], name="api_token_user_created")]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class SignInLink(models.Model):
    """A link that signs its user in once, within minutes: the way from the control host into a new organisation."""

    reads_from_primary: ClassVar[bool] = True
    LIFETIME: ClassVar[timedelta] = timedelta(minutes=5)

    token_hash = models.CharField(primary_key=True, max_length=64, editable=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="+", editable=False)
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"sign-in link of {self.user_id}"


class IdempotencyKey(models.Model):
    """The answer to a POST that was made with an Idempotency-Key; without an answer the request still runs."""

    reads_from_primary: ClassVar[bool] = True
    LIFETIME: ClassVar[timedelta] = timedelta(hours=24)

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user_id = models.UUIDField(editable=False)
    key = models.CharField(max_length=255, editable=False)
    fingerprint = models.CharField(max_length=64, editable=False)
    status = models.PositiveSmallIntegerField(null=True, editable=False)
    content_type = models.CharField(max_length=100, editable=False)
    body = models.BinaryField(default=b"", editable=False)
    created_at = models.DateTimeField(default=timezone.now, db_index=True, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user_id", "key"], name="idempotency_key_unique")]

    def __str__(self) -> str:
        return self.key


class ImportedRow(models.Model):
    """A good row of a file that is being imported, kept until its job has ended. `name` and `role` are null where the cell is empty.

    `member_id` is the id that its member gets, if it makes one: Postgres would ask the system for each one's random bits.
    """

    pk = models.CompositePrimaryKey("job_id", "number")
    job_id = models.UUIDField()
    number = models.BigIntegerField()
    email = models.EmailField("e-mail address", max_length=254)
    name = models.CharField(max_length=200, null=True)  # noqa: DJ001
    role = models.CharField(max_length=10, null=True)  # noqa: DJ001
    member_id = models.UUIDField(null=True)

    class Meta:
        # Of an address that comes twice the first row counts: it is looked up for each row. The address comes first, so that nothing but
        # such a look-up uses this index, and it no other one: Postgres took the one for the other while its statistics knew neither job.
        indexes = [models.Index(Lower("email"), "job_id", "number", name="imported_row_address")]

    def __str__(self) -> str:
        return f"row {self.number} of {self.job_id}"


class WaitingImport(models.Model):
    """A file that somebody has sent to be imported and has yet to start, having said which column is which."""

    reads_from_primary: ClassVar[bool] = True
    LIFETIME: ClassVar[timedelta] = timedelta(hours=2)

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="+", editable=False)
    # In the tenant's storage, and what its sender called it.
    file = models.CharField(max_length=200)
    name = models.CharField(max_length=200)
    size = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)
    # How it is to be read.
    format = models.CharField(max_length=10)
    encoding = models.CharField(max_length=20, blank=True)
    separator = models.CharField(max_length=1, blank=True)
    width = models.PositiveIntegerField()
    # Which column is which: as its names say at first, then as its sender said last.
    columns = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.name
