"""The app of webhooks: what the log has is sent to the tenant's own systems."""

from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    name = "activity.webhooks"
    label = "webhooks"

    def ready(self) -> None:
        from activity.webhooks import receivers  # noqa: F401  connects them
