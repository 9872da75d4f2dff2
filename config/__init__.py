"""The project: settings, URLs and what the servers start. `celery -A config` finds the application here."""

from config.celery import app as celery_app

__all__ = ["celery_app"]
