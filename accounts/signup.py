"""How an organisation begins: its database, its owner, and the owner's first way in."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.utils import timezone

from accounts import events
from accounts.errors import SignInLinkUnusable, SlugRefused
from accounts.links import sign_in_url
from accounts.models import SignInLink, User
from accounts.recording import recording_as
from accounts.roles import Role
from accounts.secret_tokens import hash_secret, new_secret
from accounts.services.tokens import token_create
from accounts.validation import clean_email, clean_name, clean_password
from activity import outbox
from tenants.context import current_tenant
from tenants.errors import SlugInvalid, SlugReserved, SlugTaken
from tenants.lifecycle.provision import provision_tenant
from tenants.refs import TenantRef


@dataclass(frozen=True, slots=True)
class SignUp:
    """A new organisation. The link signs the owner in once, within minutes; the token is there if one was asked for."""

    tenant: TenantRef
    owner: User
    sign_in_url: str
    token: str | None


def tenant_sign_up(
    *,
    slug: str,
    name: str,
    owner_email: str,
    owner_password: str,
    owner_name: str = "",
    plan: str = "free",
    server: str | None = None,
    token_name: str | None = None,
    by_owner: bool = True,
) -> SignUp:
    """Make an organisation with its owner, or nothing at all. What people fill in is checked before anything is made.

    `server`: where its database lives, by default the open one with the fewest tenants. `by_owner`: the new owner asks,
    so the events name them; otherwise whoever the request's events name. Raises InvalidField, SlugRefused, and
    ProvisioningFailed when the database couldn't be made.
    """
    name = clean_name(name, required=True)
    owner = User(
        email=clean_email(owner_email, field="owner_email"),
        name=clean_name(owner_name, field="owner_name"),
        role=Role.OWNER,
    )
    clean_password(owner_password, owner, field="owner_password")
    owner.password = make_password(owner_password)

    def populate() -> tuple[str, str | None]:
        if by_owner:
            with recording_as(owner):
                return _populate(owner, token_name)
        return _populate(owner, token_name)

    try:
        tenant, (link, token) = provision_tenant(slug=slug, name=name, plan=plan, server=server, populate=populate)
    except (SlugInvalid, SlugReserved, SlugTaken) as refusal:
        raise SlugRefused(refusal.message, refusal.status) from None
    return SignUp(tenant, owner, sign_in_url(tenant, link), token)


def _populate(owner: User, token_name: str | None) -> tuple[str, str | None]:
    """The first rows of the new database, in the one transaction of provisioning."""
    owner.save(force_insert=True)
    outbox.record(events.TenantCreated.of(current_tenant()))
    outbox.record(events.MemberCreated.of(owner, email=owner.email, role=owner.role))
    token = None if token_name is None else token_create(user=owner, name=token_name)[1]
    return sign_in_link_create(user=owner), token


def sign_in_link_create(*, user: User) -> str:
    """The secret of a link that signs the user in once, within minutes."""
    secret = new_secret()
    with transaction.atomic():
        SignInLink.objects.create(
            token_hash=hash_secret(secret), user=user, expires_at=timezone.now() + SignInLink.LIFETIME
        )
    return secret


def sign_in_link_consume(secret: str) -> User:
    """The user whom the link signs in; it is used up with that. Raises SignInLinkUnusable."""
    link = SignInLink.objects.select_related("user").filter(token_hash=hash_secret(secret)).first()
    # Of two who follow it at once, one deletes the row.
    used = link is not None and SignInLink.objects.filter(pk=link.pk, expires_at__gt=timezone.now()).delete()[0]
    if link is None or not used or not link.user.is_active:
        raise SignInLinkUnusable()
    return link.user
