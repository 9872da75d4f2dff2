"""The app of the tenant's archive."""

from django.apps import AppConfig


class ArchiveConfig(AppConfig):
    name = "activity.archive"
    label = "archive"
