"""The app of erasures. It has no tables: the ledger is control's (tenants.models.Erasure)."""

from django.apps import AppConfig


class ErasureConfig(AppConfig):
    name = "activity.erasure"
    label = "erasure"
