"""The app of jobs. Each app's module `jobs`, where there is one, is imported at start-up: it registers the app's kinds."""

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class JobsConfig(AppConfig):
    name = "activity.jobs"
    label = "jobs"

    def ready(self) -> None:
        from activity.jobs import receivers  # noqa: F401  connects them

        autodiscover_modules("jobs")
