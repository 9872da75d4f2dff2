"""What the API takes and gives. Bodies refuse fields that they don't know."""

from __future__ import annotations

from datetime import datetime
from typing import Generic, Literal, TypeVar
from uuid import UUID

from ninja import Field, Schema
from pydantic import ConfigDict

T = TypeVar("T")

RoleName = Literal["owner", "admin", "member", "viewer"]


class Body(Schema):
    """Base of all request bodies."""

    model_config = ConfigDict(extra="forbid")


class PageOut(Schema, Generic[T]):
    items: list[T]
    next: str | None = Field(None, description="The cursor of the next page, null on the last one.")


class PageIn(Schema):
    limit: int = Field(50, ge=1, le=500)
    cursor: str | None = Field(None, max_length=500)


class TenantOut(Schema):
    id: UUID
    slug: str
    name: str
    plan: str
    state: str
    time_zone: str = Field(
        description="An IANA name, such as Europe/Berlin: schedules without one of their own follow it."
    )


class TenantBrief(Schema):
    slug: str
    name: str


class TenantPatch(Body):
    name: str = Field(None, max_length=200)  # type: ignore[assignment]  # left out: unchanged
    time_zone: str = Field(None, max_length=64)  # type: ignore[assignment]


class MeOut(Schema):
    id: UUID
    email: str
    name: str
    role: str
    tenant: TenantBrief


class MemberOut(Schema):
    id: UUID
    email: str
    name: str
    role: str
    is_active: bool
    created_at: datetime
    last_login_at: datetime | None = Field(None, alias="last_login")


class MemberIn(Body):
    email: str = Field(max_length=254)
    name: str = Field("", max_length=200)
    role: RoleName = "member"


class MemberPatch(Body):
    """Fields that are left out stay as they are."""

    name: str = Field(None, max_length=200)  # type: ignore[assignment]
    role: RoleName = None  # type: ignore[assignment]
    is_active: bool = None  # type: ignore[assignment]


class MemberFilter(PageIn):
    q: str = Field("", max_length=200, description="Part of the name or the e-mail address, without case.")
    role: RoleName | None = None


class DownloadFilter(Schema):
    q: str = Field("", max_length=200, description="Part of the name or the e-mail address, without case.")
    role: RoleName | None = None


class ImportOptions(Schema):
    map: list[str] = Field(
        default_factory=list,
        max_length=10,
        description="Which column is which, once for each: `email:Work e-mail`. Left out: by the columns' own names. "
        "Columns that aren't named then are let be.",
    )
    mode: Literal["create_and_update", "create_only"] = Field(
        "create_and_update", description="`create_only` leaves those who are members already as they are."
    )
    dry_run: bool = Field(False, description="Say what would be done, and do nothing.")


class InvitationOut(Schema):
    id: UUID
    email: str
    role: str
    state: str
    invited_by: UUID | None = Field(None, alias="invited_by_id")
    created_at: datetime
    expires_at: datetime


class InvitationIn(Body):
    email: str = Field(max_length=254)
    role: RoleName = "member"


class TokenOut(Schema):
    id: UUID
    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class NewTokenOut(TokenOut):
    token: str = Field(description="The token itself, shown this once.")


class TokenIn(Body):
    name: str = Field(max_length=100)
    scopes: list[str] | None = Field(
        None, max_length=50, description="`*`, `read`, `write`, or verbs such as `members.read`."
    )
    expires_at: datetime | None = None


class ControlTenantOut(TenantOut):
    server: str = Field(alias="server_id")
    created_at: datetime
    schema_version: str


class NewTenantOut(ControlTenantOut):
    token: str = Field(description="An API token of the owner, shown this once.")


class NewTenantIn(Body):
    slug: str = Field(max_length=100)
    name: str = Field(max_length=200)
    owner_email: str = Field(max_length=254)
    owner_password: str = Field(max_length=1024)
    owner_name: str = Field("", max_length=200)
    plan: Literal["free", "team", "business"] = "free"


class ControlTenantPatch(Body):
    name: str = Field(None, max_length=200)  # type: ignore[assignment]
    plan: Literal["free", "team", "business"] = None  # type: ignore[assignment]


class ReplicaOut(Schema):
    name: str
    lag_bytes: int | None


class ServerOut(Schema):
    name: str
    is_open: bool
    tenants: int
    replicas: list[ReplicaOut]
