"""The app of the activity log."""

from django.apps import AppConfig


class ActivityConfig(AppConfig):
    name = "activity"

    def ready(self) -> None:
        from activity import checks, receivers  # noqa: F401  registers and connects them
