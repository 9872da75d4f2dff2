"""What happens to people, invitations, tokens and the organisation, as frozen values for the activity log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from accounts.models import ApiToken, Invitation, User
from activity.events import Event, Target
from tenants.models import Tenant
from tenants.refs import TenantRef


def subject_of_address(email: str) -> str:
    """The person behind an address that is (or was) no member's: who was invited, or failed to sign in."""
    return f"address:{email.strip().casefold()}"


# A field that changed: [former, new]. Never a password's value.
Changes = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class TenantEvent(Event):
    @classmethod
    def of(cls, tenant: TenantRef | Tenant, **facts: Any) -> Self:
        """The event about this organisation."""
        return cls(target=Target("tenant", str(tenant.id), tenant.name), **facts)


@dataclass(frozen=True, kw_only=True)
class TenantCreated(TenantEvent):
    action: ClassVar[str] = "tenant.created"


@dataclass(frozen=True, kw_only=True)
class TenantUpdated(TenantEvent):
    action: ClassVar[str] = "tenant.updated"
    changes: Changes


@dataclass(frozen=True, kw_only=True)
class TenantSuspended(TenantEvent):
    action: ClassVar[str] = "tenant.suspended"


@dataclass(frozen=True, kw_only=True)
class TenantResumed(TenantEvent):
    action: ClassVar[str] = "tenant.resumed"


@dataclass(frozen=True, kw_only=True)
class MemberEvent(Event):
    @classmethod
    def of(cls, user: User, **facts: Any) -> Self:
        """The event about this member."""
        return cls(target=Target("member", str(user.pk), user.get_full_name()), **facts)


@dataclass(frozen=True, kw_only=True)
class MemberCreated(MemberEvent):
    action: ClassVar[str] = "member.created"
    personal: ClassVar[frozenset[str]] = frozenset({"email"})
    email: str
    role: str


@dataclass(frozen=True, kw_only=True)
class MemberUpdated(MemberEvent):
    action: ClassVar[str] = "member.updated"
    personal: ClassVar[frozenset[str]] = frozenset({"changes"})
    changes: Changes


@dataclass(frozen=True, kw_only=True)
class MemberRoleChanged(MemberEvent):
    action: ClassVar[str] = "member.role_changed"
    former: str
    role: str


@dataclass(frozen=True, kw_only=True)
class MemberDeactivated(MemberEvent):
    action: ClassVar[str] = "member.deactivated"
    tokens_revoked: int


@dataclass(frozen=True, kw_only=True)
class MemberReactivated(MemberEvent):
    action: ClassVar[str] = "member.reactivated"


@dataclass(frozen=True, kw_only=True)
class MemberRemoved(MemberEvent):
    action: ClassVar[str] = "member.removed"
    personal: ClassVar[frozenset[str]] = frozenset({"email"})
    email: str
    role: str


@dataclass(frozen=True, kw_only=True)
class InvitationEvent(Event):
    personal: ClassVar[frozenset[str]] = frozenset({"target.name"})

    def tells_of(self) -> str | None:
        return None if self.target is None else subject_of_address(self.target.name)

    @classmethod
    def of(cls, invitation: Invitation, **facts: Any) -> Self:
        """The event about this invitation; its name is the invited address."""
        return cls(target=Target("invitation", str(invitation.pk), invitation.email), **facts)


@dataclass(frozen=True, kw_only=True)
class InvitationSent(InvitationEvent):
    action: ClassVar[str] = "invitation.sent"
    role: str


@dataclass(frozen=True, kw_only=True)
class InvitationAccepted(InvitationEvent):
    action: ClassVar[str] = "invitation.accepted"
    member_id: str


@dataclass(frozen=True, kw_only=True)
class InvitationRevoked(InvitationEvent):
    action: ClassVar[str] = "invitation.revoked"


@dataclass(frozen=True, kw_only=True)
class SessionEvent(Event):
    @classmethod
    def of(cls, user: User | None, **facts: Any) -> Self:
        """The event about this member's session, or about nobody's when the address is unknown."""
        target = Target("member", str(user.pk), user.get_full_name()) if user is not None else None
        return cls(target=target, **facts)


@dataclass(frozen=True, kw_only=True)
class SessionSignedIn(SessionEvent):
    action: ClassVar[str] = "session.signed_in"


@dataclass(frozen=True, kw_only=True)
class SessionSignInFailed(SessionEvent):
    action: ClassVar[str] = "session.sign_in_failed"
    personal: ClassVar[frozenset[str]] = frozenset({"email", "ip"})
    email: str

    def tells_of(self) -> str | None:
        return None if self.target is not None else subject_of_address(self.email)


@dataclass(frozen=True, kw_only=True)
class SessionSignedOut(SessionEvent):
    action: ClassVar[str] = "session.signed_out"


@dataclass(frozen=True, kw_only=True)
class TokenEvent(Event):
    @classmethod
    def of(cls, token: ApiToken, **facts: Any) -> Self:
        """The event about this token."""
        return cls(target=Target("token", str(token.pk), token.name), **facts)


@dataclass(frozen=True, kw_only=True)
class TokenCreated(TokenEvent):
    action: ClassVar[str] = "token.created"
    prefix: str
    scopes: list[str]


@dataclass(frozen=True, kw_only=True)
class TokenRevoked(TokenEvent):
    action: ClassVar[str] = "token.revoked"
    prefix: str
