"""The demonstration's sign-ins: made by `manage.py demo`, kept in the data folder, tried again at the next start."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any

from tenants.devstack.ports import HOST


def kept(path: Path, *, tenants: bool) -> dict[str, Any]:
    """What an earlier start made, or nothing when that isn't all that this one needs."""
    try:
        made = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not tenants:
        made["tenants"] = []
    return made if made.get("operator") and (made.get("tenants") or not tenants) else {}


def works(made: dict[str, Any], *, base_domain: str, port: int) -> bool:
    """Whether every token still opens what it is for. An organisation may have been deleted, or a token revoked."""
    asked = [(f"{tenant['slug']}.{base_domain}", "/api/v1/me", tenant["token"]) for tenant in made["tenants"]]
    asked.append((base_domain, "/control/api/v1/servers", made["operator"]["token"]))
    return all(_status(host, port, path, token) == http.client.OK for host, path, token in asked)


def _status(host: str, port: int, path: str, token: str) -> int | None:
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": f"{host}:{port}", "Authorization": f"Bearer {token}"})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
