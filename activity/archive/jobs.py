"""The kind of job that writes a tenant's whole archive."""

from __future__ import annotations

from activity.archive import own_parts
from activity.archive.build import write_archive
from activity.errors import LogUnavailable
from activity.jobs.errors import JobFailed
from activity.jobs.kinds import NoParams, job_kind
from activity.jobs.replica import reading_from_replica
from activity.jobs.run import Run
from tenants import context
from tenants.refs import TenantRef


@job_kind(
    own_parts.KIND, title="Archive of the organisation", verb="tenant.archive", counts=("files", "rows"), unit="files"
)
def tenant_archive(run: Run, params: NoParams) -> None:
    """Write all that is the tenant's into one ZIP. An attempt that died begins anew: half a ZIP is of no use."""
    ref = context.current()
    if not isinstance(ref, TenantRef):
        raise JobFailed("Only an organisation has an archive.")

    def progress(files: int) -> None:
        run.done = files
        run.report()

    run.done, run.total = 0, None
    try:
        with reading_from_replica(run), run.writing_result(f"{ref.slug}-archive.zip") as file:
            manifest = write_archive(file, progress)
    except LogUnavailable as error:
        raise JobFailed(error.message) from error
    with run.step():
        run.counts.clear()
        run.counts["files"] = run.done = run.total = len(manifest["files"])
        run.counts["rows"] = sum(entry.get("rows", 0) for entry in manifest["files"])
