"""The app of usage. Each app's module `meters`, where there is one, is imported at start-up: it registers the app's meters."""

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class UsageConfig(AppConfig):
    name = "activity.usage"
    label = "usage"

    def ready(self) -> None:
        from activity.usage import own_meters  # noqa: F401  registers Tenantry's own

        autodiscover_modules("meters")
