"""Starting the import of a file that a request brings, without anybody looking at it first."""

from __future__ import annotations

from collections.abc import Iterable

from django.http import HttpRequest

from accounts.imports.batches import Mode
from accounts.imports.columns import COLUMNS, REQUIRED, found_columns, said_columns
from accounts.imports.job import ImportParams, import_start
from activity.jobs import reading, uploads
from activity.jobs.models import Job
from activity.jobs.tables import Layout
from activity.jobs.uploads import Upload


def members_import_start(
    request: HttpRequest,
    *,
    said: Iterable[str] = (),
    mode: Mode = "create_and_update",
    dry_run: bool = False,
) -> Job:
    """Start the import of the file that a request brings. `said`: which column is which, where the names don't tell.

    Raises UploadRefused when it isn't a file of members, and InvalidField.
    """
    upload = uploads.receive(request)
    layout = layout_of(upload)
    header = reading.header_of(upload.file, layout)
    said = list(said)
    columns = said_columns(said, header) if said else found_columns(header, layout)
    params = ImportParams(
        format=layout.format,
        encoding=layout.encoding,
        separator=layout.separator,
        columns=columns,
        width=len(header),
        sha256=upload.sha256,
        size=upload.size,
        mode=mode,
        dry_run=dry_run,
    )
    upload.file.seek(0)
    return import_start(upload.file, name=upload.name, params=params)


def layout_of(upload: Upload) -> Layout:
    """How an upload is to be read. Raises UploadRefused."""
    return reading.layout_of(upload.file, upload.format, upload.encoding, known=COLUMNS, required=REQUIRED)
