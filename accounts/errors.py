"""Every error of accounts.

AccountsError
├── TokenNotValid           an API token is unknown, expired or revoked
├── NotAllowed              the role, or the token's scopes, don't allow it
├── NotFound                no such member, invitation or token here
├── InvalidField            one field's value can't be accepted
│   ├── EmailTaken          another member has the address
│   └── SlugRefused         the organisation's address is malformed, reserved or taken
├── LastOwner               the organisation would have no active owner left
├── InvitationUnusable      accepted, revoked, expired or never sent
├── SignInLinkUnusable      used, expired or never made
├── RateLimited             too many requests in the window
└── IdempotencyConflict     the key belongs to another request, or to one that still runs
"""

from __future__ import annotations

from tenants.errors import TenantryError


class AccountsError(TenantryError):
    """Base of the errors of accounts."""

    status = 409


class TokenNotValid(AccountsError):
    """Raised when a request's API token is unknown, expired or revoked, or its user is inactive."""

    status = 401

    def __init__(self) -> None:
        super().__init__("The token is not valid: it is unknown, expired or revoked.")


class NotAllowed(AccountsError):
    """Raised when the caller's role or the token's scopes don't allow what was asked."""

    status = 403

    def __init__(self, verb: str) -> None:
        super().__init__(f"This needs the permission {verb}, which your role or this token doesn't have.")
        self.verb = verb


class OwnersOnly(NotAllowed):
    """Raised when somebody who isn't an owner would make, change or remove an owner."""

    def __init__(self) -> None:
        AccountsError.__init__(self, "Only an owner can make, change or remove owners.")
        self.verb = "members.write"


class NotFound(AccountsError):
    """Raised when an id names nothing here. The sentence is the same for what never was and for what belongs to others."""

    status = 404

    def __init__(self, what: str) -> None:
        super().__init__(f"There is no such {what}.")
        self.what = what


class InvalidField(AccountsError):
    """Raised when one field's value can't be accepted; `errors` has its sentences by field."""

    status = 422

    def __init__(self, field: str, *sentences: str) -> None:
        super().__init__(" ".join(sentences))
        self.errors = {field: list(sentences)}


class EmailTaken(InvalidField):
    """Raised when another member already has the address (compared without case)."""

    status = 409

    def __init__(self, field: str = "email") -> None:
        super().__init__(field, "A member with this e-mail address is already here.")


class SlugRefused(InvalidField):
    """Raised when an organisation's address is malformed or reserved (422) or taken (409)."""

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__("slug", sentence)
        self.status = status


class LastOwner(AccountsError):
    """Raised when the organisation would be left without an active owner."""

    def __init__(self) -> None:
        super().__init__("An organisation needs an owner: make another member an owner first.")


class InvitationUnusable(AccountsError):
    """Raised when an invitation was accepted, revoked, has expired, or was never sent."""

    status = 410

    def __init__(self) -> None:
        super().__init__("This invitation is no longer valid. Ask for a new one.")


class SignInLinkUnusable(AccountsError):
    """Raised when a sign-in link was used, has expired, or was never made."""

    status = 410

    def __init__(self) -> None:
        super().__init__("This sign-in link was used or has expired. Sign in with your password.")


class RateLimited(AccountsError):
    """Raised when a limit is used up; `retry_after` is in whole seconds."""

    status = 429

    def __init__(self, *, retry_after: int) -> None:
        super().__init__(f"Too many requests; try again in {retry_after} s.")
        self.retry_after = retry_after


class IdempotencyConflict(AccountsError):
    """Raised when an Idempotency-Key can't be used for this request."""

    def __init__(self, message: str, *, status: int, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
