"""A file that somebody has sent and has yet to say what is what in it: kept for its sender alone, and not for long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from django.core.files import File
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import QuerySet
from django.dispatch import receiver
from django.utils import timezone

from accounts.errors import NotFound
from accounts.imports.batches import Mode
from accounts.imports.columns import checked_columns, nothing_found, proposed_columns
from accounts.imports.job import ImportParams, import_start
from accounts.imports.starting import layout_of
from accounts.models import User, WaitingImport
from activity.erasure.signals import person_erased
from activity.jobs import files, reading
from activity.jobs.models import Job
from activity.jobs.tables import Layout, Row
from activity.jobs.uploads import Upload
from tenants import context, plan_limits
from tenants.refs import TenantRef

FOLDER: Final = "jobs/waiting"  # of Tenantry's own folder: what else lies in the storage is the apps'
PREVIEW: Final = 10  # rows
KEPT: Final = 5  # files of one person that wait at once; of more the oldest go


def waiting_keep(*, by: User, upload: Upload) -> WaitingImport:
    """Keep an upload until its sender starts it. Raises UploadRefused for what can't be read as a table, and PlanLimitReached."""
    layout = layout_of(upload)
    header, _ = reading.preview(upload.file, layout, rows=PREVIEW)
    if not any(name.strip() for name in header):
        raise nothing_found(header, layout)
    plan_limits.check_storage(upload.size)
    upload.file.seek(0)
    waiting = WaitingImport(
        user=by,
        name=upload.name[-200:],
        size=upload.size,
        sha256=upload.sha256,
        format=layout.format,
        encoding=layout.encoding,
        separator=layout.separator,
        width=len(header),
        columns=proposed_columns(header),
        expires_at=timezone.now() + WaitingImport.LIFETIME,
    )
    waiting.file = default_storage.save(f"{FOLDER}/{waiting.pk}", File(upload.file))
    try:
        waiting.save(force_insert=True)
    except BaseException:
        files.delete(waiting.file)
        raise
    _remove(WaitingImport.objects.filter(user=by).order_by("-created_at", "-pk")[KEPT:])
    return waiting


def waiting_get(*, by: User, waiting_id: UUID) -> WaitingImport:
    """A file that waits, for whoever sent it. Raises NotFound, also for one that has expired."""
    return _find(WaitingImport.objects.using("default"), by, waiting_id)


def waiting_preview(waiting: WaitingImport) -> tuple[tuple[str, ...], list[Row]]:
    """The names of the file's columns, and its first rows. Raises UploadRefused, and NotFound."""
    try:
        with default_storage.open(waiting.file, "rb") as file:
            return reading.preview(file, _layout(waiting), rows=PREVIEW)
    except FileNotFoundError:
        raise NotFound("file") from None


def waiting_start(*, by: User, waiting_id: UUID, columns: Mapping[str, int], mode: Mode, dry_run: bool) -> Job:
    """Start the import of a file that waits. It waits on after a dry run, else it goes, so that nobody starts it twice.

    Raises NotFound, and InvalidField for the field `columns`.
    """
    with transaction.atomic():
        waiting = _find(WaitingImport.objects.select_for_update(of=("self",)), by, waiting_id)
        params = ImportParams(
            format=_layout(waiting).format,
            encoding=waiting.encoding,
            separator=waiting.separator,
            columns=checked_columns(columns, waiting.width, field="columns"),
            width=waiting.width,
            sha256=waiting.sha256,
            size=waiting.size,
            mode=mode,
            dry_run=dry_run,
            waiting=waiting.pk if dry_run else None,
        )
        try:
            with default_storage.open(waiting.file, "rb") as file:
                job = import_start(file, name=waiting.name, params=params, frees=0 if dry_run else waiting.size)
        except FileNotFoundError:
            raise NotFound("file") from None
        if dry_run:
            waiting.expires_at = timezone.now() + WaitingImport.LIFETIME
            waiting.columns = params.columns
            waiting.save(update_fields=["columns", "expires_at"])
        else:
            waiting.delete()
            transaction.on_commit(lambda: files.delete(waiting.file))
    return job


def waiting_remove(*, by: User, waiting_id: UUID) -> None:
    """Throw a file away that won't be imported."""
    _remove(WaitingImport.objects.filter(user=by, pk=waiting_id))


def waiting_prune() -> int:
    """Throw away the active tenant's files that have expired, and those that nobody knows of; answers how many."""
    if not isinstance(context.current(), TenantRef):
        return 0
    now = timezone.now()
    removed = _remove(WaitingImport.objects.filter(expires_at__lt=now))
    try:
        _, names = default_storage.listdir(FOLDER)
    except FileNotFoundError:
        return removed
    known = set(WaitingImport.objects.values_list("file", flat=True))
    for name in (f"{FOLDER}/{name}" for name in names):
        if name not in known and _is_old(name):
            files.delete(name)
            removed += 1
    return removed


@receiver(person_erased, dispatch_uid="accounts.imports.waiting.forget")
def forget(**_: Any) -> None:
    """A file may hold anybody, so all go: who needs one sends it again."""
    _remove(WaitingImport.objects.all())


def _find(among: QuerySet[WaitingImport], by: User, waiting_id: UUID) -> WaitingImport:
    found = among.filter(pk=waiting_id, user=by, expires_at__gt=timezone.now()).first()
    if found is None:
        raise NotFound("file")
    return found


def _layout(waiting: WaitingImport) -> Layout:
    return Layout(waiting.format, waiting.encoding, waiting.separator)  # type: ignore[arg-type]  # one of Format's words


def _remove(those: QuerySet[WaitingImport]) -> int:
    found = list(those.values_list("pk", "file"))
    WaitingImport.objects.filter(pk__in=[pk for pk, _ in found]).delete()
    transaction.on_commit(lambda: files.delete(*(file for _, file in found)))
    return len(found)


def _is_old(name: str) -> bool:
    try:
        return default_storage.get_modified_time(name) < timezone.now() - WaitingImport.LIFETIME
    except FileNotFoundError:
        return False
