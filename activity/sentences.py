"""An event as a sentence to read. Events with a name that Tenantry doesn't know are told by their parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.utils.html import format_html
from django.utils.safestring import SafeString

from activity.personal import ERASED

SENTENCES: Final = {
    "tenant.created": "{actor} created the organisation",
    "tenant.updated": "{actor} changed the organisation{changes}",
    "tenant.suspended": "{actor} suspended the organisation",
    "tenant.resumed": "{actor} resumed the organisation",
    "tenant.moved": "{actor} moved the organisation's database",
    "tenant.restored": "{actor} restored the organisation from a backup",
    "member.created": "{target} joined as {role}",
    "member.updated": "{actor} changed {target}{changes}",
    "member.role_changed": "{actor} changed the role of {target} from {former} to {role}",
    "member.deactivated": "{actor} deactivated {target}",
    "member.reactivated": "{actor} reactivated {target}",
    "member.removed": "{actor} removed {target}",
    "member.erased": "{actor} erased a person from the activity log",
    "invitation.sent": "{actor} invited {target} as {role}",
    "invitation.accepted": "{target} accepted the invitation",
    "invitation.revoked": "{actor} revoked the invitation of {target}",
    "session.signed_in": "{actor} signed in",
    "session.sign_in_failed": "Somebody failed to sign in as {email}",
    "session.signed_out": "{actor} signed out",
    "token.created": "{actor} created the API token {target}",
    "token.revoked": "{actor} revoked the API token {target}",
    "webhook.created": "{actor} created the webhook {target}",
    "webhook.updated": "{actor} changed the webhook {target}{changes}",
    "webhook.removed": "{actor} removed the webhook {target}",
    "webhook.disabled": "The webhook {target} was switched off, since it took nothing",
    "schedule.created": "{actor} created the schedule {target}",
    "schedule.changed": "{actor} changed the schedule {target}{changes}",
    "schedule.deleted": "{actor} deleted the schedule {target}",
    "schedule.paused": "{actor} paused the schedule {target}",
    "schedule.skipped": "The schedule {target} was left out once, since the plan has no more of what it needs",
    "schedule.resumed": "{actor} resumed the schedule {target}",
    "job.started": "{actor} started the job {kind}",
    "job.succeeded": "The job {kind} succeeded",
    "job.failed": "The job {kind} failed",
    "job.retried": "{actor} had the job {kind} tried again",
    "job.cancelled": "{actor} cancelled the job {kind}",
    "activity.retention_changed": "{actor} changed for how long events are kept",
}
SYMBOLS: Final = {
    "tenant": "building",
    "member": "user",
    "invitation": "mail",
    "session": "login",
    "token": "key",
    "webhook": "send",
    "schedule": "calendar",
    "job": "player-play",
    "activity": "history",
}


def sentence(
    action: str, actor: Mapping[str, Any] | None, target: Mapping[str, Any] | None, data: Mapping[str, Any]
) -> SafeString:
    """What happened, with names in bold. Everything that is filled in is escaped."""
    who = _name(actor) or "Somebody"
    whom = _name(target)
    pattern = SENTENCES.get(action)
    if pattern is None:
        pattern = "{actor} · {action} · {target}" if whom else "{actor} · {action}"
    facts = {key: _word(data.get(key)) for key in ("role", "former", "email", "kind")}
    return format_html(
        pattern,
        actor=_bold(who),
        target=_bold(whom or "something"),
        action=action,
        changes=_changes(data.get("changes")),
        **facts,
    )


def symbol(action: str) -> str:
    """The icon for an action."""
    return SYMBOLS.get(action.partition(".")[0], "bolt")


def _bold(text: str) -> SafeString:
    return format_html("<strong>{}</strong>", text)


def _name(party: Mapping[str, Any] | None) -> str:
    if not party:
        return ""
    if party.get("name") == ERASED:
        return "(erased)"
    return str(party.get("name") or party.get("id") or party.get("type") or "")


def _word(value: Any) -> str:
    if value == {"erased": True}:
        return "(erased)"
    return value if isinstance(value, str) and value else "?"


def _changes(changes: Any) -> str:
    return f" ({', '.join(sorted(map(str, changes)))})" if isinstance(changes, Mapping) and changes else ""
