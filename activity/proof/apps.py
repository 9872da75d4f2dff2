"""The app of what proves the log."""

from django.apps import AppConfig


class ProofConfig(AppConfig):
    name = "activity.proof"
    label = "proof"
