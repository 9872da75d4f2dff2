"""A beat with a schedule of one tenant, and one of nobody."""

import os

from config.settings import *  # noqa: F403

CELERY_BEAT_SCHEDULE = {
    "nobody's": {"task": "notes.tell", "schedule": 1.0, "kwargs": {"answers": os.environ["ANSWERS"], "step": "nobody"}},
    "a tenant's": {
        "task": "notes.tell",
        "schedule": 1.0,
        "kwargs": {"answers": os.environ["ANSWERS"], "step": "beat"},
        "options": {"headers": {"tenant": os.environ["OWNER"]}},
    },
}
