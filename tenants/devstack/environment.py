"""The environment of the stack's processes: the development servers' URLs, and secrets that the data folder keeps."""

from __future__ import annotations

import json
import os

from tenants.devstack.folder import write_atomically
from tenants.devstack.servers import EmbeddedServers

CONTROL = "tenantry"
FILE = "environment.json"  # manage.py reads it where nothing else says which databases are meant
BASE_DOMAIN = "localhost"


def create_control_database(servers: EmbeddedServers) -> None:
    """Make the control database and its role, unless they exist."""
    servers.postgres.ensure_database(CONTROL, owner=CONTROL, password=servers.folder.secret("control_password"))


def variables(servers: EmbeddedServers, *, web_port: int, stream_port: int) -> dict[str, str]:
    """Every variable of the contract, over those of the terminal. Ours are left in the folder, for `manage.py` in another terminal.

    Control has a role of its own, which owns that database and no other; making tenants' databases and roles takes the
    superuser, whom only the registry's entry of the server names.
    """
    folder = servers.folder
    local = {"primary": servers.primary_url, "replicas": servers.replica_urls}
    ours = {
        "CONTROL_DATABASE_URL": servers.postgres.url_of(CONTROL, CONTROL, folder.secret("control_password")),
        "TENANT_SERVERS": json.dumps({"local": local}),
        "MONGO_URL": servers.mongo_url,
        "REDIS_URL": servers.redis_url,
        "SECRET_KEY": folder.secret("secret_key"),
        "CREDENTIALS_KEYS": folder.secret("credentials_keys"),
        "ACTIVITY_SIGNING_KEYS": folder.secret("activity_signing_keys"),
        "BASE_DOMAIN": BASE_DOMAIN,
        "WEB_URL": f"http://{BASE_DOMAIN}:{web_port}",
        "STREAM_URL": f"http://{BASE_DOMAIN}:{stream_port}",
        "DATA_DIR": str(folder.path),
        "STATIC_ROOT": str(folder.path / "static"),
        "TENANTRY_DEV": "1",
        "DJANGO_SETTINGS_MODULE": os.environ.get("TENANTRY_SETTINGS", "config.settings"),
        "PYTHONUNBUFFERED": "1",
    }
    write_atomically(folder.path / FILE, json.dumps(ours, indent=1))
    # A NAME_FILE of the terminal would come before the NAME given here.
    inherited = {name: value for name, value in os.environ.items() if name.removesuffix("_FILE") not in ours}
    return inherited | ours
