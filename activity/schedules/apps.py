"""The app of schedules: jobs that the tenant has started for it at times of its own."""

from django.apps import AppConfig


class SchedulesConfig(AppConfig):
    name = "activity.schedules"
    label = "schedules"

    def ready(self) -> None:
        from activity.schedules import receivers  # noqa: F401  connects them
