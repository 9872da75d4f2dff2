"""Files: each tenant's under a folder of its own; without a tenant there is no folder."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.core.files.storage import FileSystemStorage

from tenants import context
from tenants.errors import NoTenant


class TenantStorage(FileSystemStorage):
    """Django's file storage below `<MEDIA_ROOT>/<id of the active tenant, or control>`. Raises NoTenant when nobody is active."""

    @property
    def base_location(self) -> str:  # a cached value in the original: here it depends on the tenant
        ref = context.active()
        if ref is None:
            raise NoTenant("A file")
        return str(Path(settings.MEDIA_ROOT) / ref.id)

    @property
    def location(self) -> str:
        return str(Path(self.base_location).absolute())

    @property
    def base_url(self) -> None:  # type: ignore[override]  # files are served through views that check rights, never by address
        return None
