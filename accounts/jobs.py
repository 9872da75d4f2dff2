"""The kinds of job of accounts."""

from __future__ import annotations

from uuid import UUID

from accounts import archive, exports
from accounts.imports.job import KIND, ImportParams, members_import
from accounts.models import User
from accounts.roles import verbs_of_role
from activity.archive.parts import archive_part
from activity.context import Actor
from activity.jobs.kinds import job_kind

job_kind(
    KIND,
    title="Import of members",
    verb="members.write",
    params=ImportParams,
    upload_at="/api/v1/members/import",
    has_report=True,
    counts=("created", "updated", "unchanged", "refused"),
)(members_import)

job_kind(exports.KIND, title="Export of members", verb="members.read", params=exports.ExportParams)(
    exports.members_export
)


archive_part("members")(archive.members_part)
archive_part("invitations")(archive.invitations_part)


def may_still(actor: Actor, verb: str) -> bool:
    """Whether who started a job may still do what it does; the system may, and an operator in control who is still one."""
    if actor.type not in {"member", "operator"}:
        return actor.type == "system"
    user = User.objects.using("default").filter(pk=UUID(actor.id), is_active=True).first()
    if user is None:
        return False
    return user.is_staff if actor.type == "operator" else verb in verbs_of_role(user.role)
