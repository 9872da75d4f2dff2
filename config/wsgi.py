"""`web`: what waits for nothing but short queries. gunicorn's gthread worker runs it."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("TENANTRY_PROCESS", "web")

application = get_wsgi_application()
