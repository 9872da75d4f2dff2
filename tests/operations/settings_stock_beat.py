"""The control: settings with Celery's own scheduler, which knows of no other beat."""

from config.settings import *  # noqa: F403

CELERY_BEAT_SCHEDULER = "celery.beat:PersistentScheduler"
