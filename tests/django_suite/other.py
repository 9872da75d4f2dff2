"""The second database of some of Django's tests: an ordinary one beside the tenants', with a router of its own before Tenantry's."""

from __future__ import annotations

from typing import Any

ALIAS = "other"


class OtherRouter:
    """Gives `other` the tables that a tenant has. Who wants to be there says `using="other"`."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return app_label != "tenants" if db == ALIAS else None
