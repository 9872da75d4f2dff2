from typing import Any


class OtherRouter:
    """The database `other` has a table of each model, as in Django's own runs."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return app_label != "tenants" if db == "other" else None
