"""The archive as a ZIP: every part's entries, then a manifest that names them with their sizes, rows and SHA-256."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import IO, Any, Final

import orjson

from activity.archive.parts import Entry, all_parts
from tenants import context
from tenants.refs import TenantRef

MANIFEST: Final = "manifest.json"
VERSION: Final = 1


def write_archive(file: IO[bytes], progress: Callable[[int], None]) -> dict[str, Any]:
    """Write the active tenant's archive to `file`, which needn't be seekable; returns the manifest.

    Memory is constant in the size of the data; of each file some hundred bytes stay, as the directory of a ZIP needs them. `progress` is
    called for each block with the number of files that are complete.
    """
    ref = context.current()
    assert isinstance(ref, TenantRef)
    manifest: dict[str, Any] = {
        "version": VERSION,
        "tenant": {"id": ref.id, "slug": ref.slug, "name": ref.name},
        "made_at": datetime.now(UTC).isoformat(),
        "files": [],
    }
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
        for part, write in all_parts():
            for entry in write():
                facts = _write_entry(archive, part, entry, lambda: progress(len(manifest["files"])))
                manifest["files"].append(facts)
        archive.writestr(MANIFEST, orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
    return manifest


def _write_entry(archive: zipfile.ZipFile, part: str, entry: Entry, progress: Callable[[], None]) -> dict[str, Any]:
    name = _safe(part, entry.name)
    digest, size, rows = hashlib.sha256(), 0, 0
    info = zipfile.ZipInfo(name, datetime.now(UTC).timetuple()[:6])
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o600 << 16
    with archive.open(info, "w", force_zip64=True) as writer:
        for block in entry.blocks:
            progress()
            writer.write(block)
            digest.update(block)
            size += len(block)
            rows += block.count(b"\n")
    facts: dict[str, Any] = {"name": name, "part": part, "bytes": size, "sha256": digest.hexdigest()}
    if name.endswith(".ndjson"):
        facts["rows"] = rows
    return facts


def _safe(part: str, name: str) -> str:
    """The entry's full name. Raises ValueError for one that would be unpacked outside of its part's folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name or "\0" in name:
        raise ValueError(f"{name!r} is no name of a file below {part}/.")
    return f"{part}/{path}"
