"""What a tenant's database holds: which version of it this code wants, and how a database gets there."""

from __future__ import annotations

import hashlib

from django.apps import apps
from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from tenants import context


def schema_version() -> str:
    """A digest of all migrations that tenants get, and of the models of apps that have none. It tells equal schemas from others."""
    loader = MigrationLoader(None, load=False)
    loader.load_disk()
    parts = {f"{app} {name}" for app, name in loader.disk_migrations if app not in settings.CONTROL_APPS}
    for app in loader.unmigrated_apps - settings.CONTROL_APPS:
        parts |= {f"{app} model {model._meta.model_name}" for model in apps.get_app_config(app).get_models()}
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()


def migrate(*, lock_timeout: float = 5.0) -> None:
    """Bring the active tenant's database to this code's schema by Django's own command: tables, content types, permissions.

    No statement waits for a lock longer than `lock_timeout` seconds: whatever waits behind a waiting ALTER TABLE waits with it.
    """
    context.current_tenant()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, false)", [f"{round(lock_timeout * 1000)}ms"])
        call_command("migrate", database="default", interactive=False, run_syncdb=True, skip_checks=True, verbosity=0)
    finally:
        # The setting ends with the session, and must not reach the next one who borrows it.
        if connection.connection is not None and not connection.connection.closed:
            with connection.cursor() as cursor:
                cursor.execute("RESET lock_timeout")
        ContentType.objects.clear_cache()  # it keeps an entry for each alias, and a fleet has thousands
