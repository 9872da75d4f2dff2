"""Inviting people by e-mail."""

from __future__ import annotations

from functools import partial

from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, transaction
from django.db.models import Value
from django.db.models.functions import Lower
from django.utils import timezone

from accounts import events, mail
from accounts.errors import EmailTaken, InvitationUnusable, NotFound, OwnersOnly
from accounts.models import Invitation, User
from accounts.roles import Role, may_manage
from accounts.secret_tokens import hash_secret, new_secret
from accounts.services import room
from accounts.validation import clean_email, clean_name, clean_password
from activity import outbox
from tenants.context import current


def invitation_send(*, by: User | None, email: str, role: str = Role.MEMBER) -> Invitation:
    """Invite somebody by e-mail; the mail goes out when the transaction commits. A pending one to the same address is replaced.

    Raises InvalidField, EmailTaken (they are a member already), OwnersOnly and PlanLimitReached.
    """
    if by is not None and not may_manage(by.role, role):
        raise OwnersOnly()
    email = clean_email(email)
    if User.objects.by_email(email) is not None:
        raise EmailTaken()
    room.room_look(inviting=email)
    secret = new_secret()
    invitation = Invitation(
        email=email,
        role=role,
        token_hash=hash_secret(secret),
        invited_by=by,
        expires_at=timezone.now() + Invitation.LIFETIME,
    )
    with transaction.atomic():
        for former in Invitation.objects.select_for_update().filter(
            email__lower=Lower(Value(email)), accepted_at=None, revoked_at=None
        ):
            _revoke(former)
        invitation.save(force_insert=True)
        outbox.record(events.InvitationSent.of(invitation, role=role))
        send = partial(
            mail.send_invitation,
            to=email,
            organisation=current().name,
            invited_by=by.get_full_name() if by else "",
            role=role,
            secret=secret,
        )
        transaction.on_commit(send, robust=True)
    return invitation


def invitation_find(secret: str) -> Invitation:
    """The invitation of a link. Raises InvitationUnusable unless it is pending."""
    invitation = Invitation.objects.using("default").filter(token_hash=hash_secret(secret)).first()
    if invitation is None or invitation.state != "pending":
        raise InvitationUnusable()
    return invitation


def invitation_accept(*, secret: str, name: str, password: str) -> User:
    """Make the invited person a member, once. Raises InvitationUnusable, InvalidField, EmailTaken and PlanLimitReached."""
    invitation = invitation_find(secret)
    user = User(email=invitation.email, name=clean_name(name), role=invitation.role)
    clean_password(password, user)
    user.password = make_password(password)  # slow by design, so before the transaction
    now = timezone.now()
    with transaction.atomic():
        # Of two who follow the link at once, one finds the row still pending.
        taken = Invitation.objects.filter(
            pk=invitation.pk, accepted_at=None, revoked_at=None, expires_at__gt=now
        ).update(accepted_at=now)
        if not taken:
            raise InvitationUnusable()
        room.room_take()
        try:
            with transaction.atomic():
                user.save(force_insert=True)
        except IntegrityError:
            raise EmailTaken() from None
        outbox.record(events.InvitationAccepted.of(invitation, member_id=str(user.pk)))
        outbox.record(events.MemberCreated.of(user, email=user.email, role=user.role))
    return user


def invitation_revoke(*, by: User | None, invitation: Invitation) -> Invitation:
    """Make a pending invitation unusable. Raises NotFound when it is no longer pending, and OwnersOnly."""
    if by is not None and not may_manage(by.role, invitation.role):
        raise OwnersOnly()
    with transaction.atomic():
        locked = (
            Invitation.objects.select_for_update().filter(pk=invitation.pk, accepted_at=None, revoked_at=None).first()
        )
        if locked is None:
            raise NotFound("invitation")
        _revoke(locked)
    return locked


def _revoke(invitation: Invitation) -> None:
    """Inside the caller's transaction, on a row that it has locked."""
    invitation.revoked_at = timezone.now()
    invitation.save(update_fields=["revoked_at"])
    outbox.record(events.InvitationRevoked.of(invitation))
