"""The kinds of job of activity."""

from __future__ import annotations

from activity.jobs import log_export
from activity.jobs.kinds import job_kind

job_kind(
    log_export.EXPORT,
    title="Export of the activity log",
    verb="activity.read",
    params=log_export.ExportParams,
    unit="events",
)(log_export.activity_export)
