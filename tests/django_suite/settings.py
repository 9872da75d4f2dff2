"""Settings for Django's own tests inside a tenant.

Databases, router, key, cache and files are Tenantry's; the rest is what Django's `runtests.py` and `test_sqlite.py` have.
"""

from __future__ import annotations

import os
from copy import deepcopy
from pathlib import Path
from typing import Any

from django.utils.log import DEFAULT_LOGGING

from config.settings import (  # noqa: F401
    CACHES,
    CONTROL_APPS,
    CONTROL_DATABASE,
    CREDENTIALS_KEYS,
    DIRECTORY_TTL,
    MEDIA_ROOT,
    PLAN_SHARES,
    POOL,
    POOL_LEASES,
    POOL_RESERVE,
    REDIS_URL,
    REPLICA_SAMPLE_INTERVAL,
    SECRET_KEY,
    SHARED_APPS,
    SLOW_STATEMENT_MS,
    TENANT_SERVERS,
    TENANTRY_PROCESS,
    TIME_LIMITS,
)
from config.settings import DATABASE_ROUTERS as TENANTRY_ROUTERS
from config.settings import STORAGES as TENANTRY_STORAGES
from tests.django_suite import other

TESTS = Path(os.environ["DJANGO_TESTS"])  # where source.unpack put them

# Control is another database than the project's: its registry names the template of other apps.
DATABASES: dict[str, dict[str, Any]] = {
    "default": {"ENGINE": "tenants.unbound"},
    "control": {"ENGINE": "tenants.db", **CONTROL_DATABASE, "NAME": f"{CONTROL_DATABASE['NAME']}_django"},
    other.ALIAS: {
        "ENGINE": "django.db.backends.postgresql",
        **CONTROL_DATABASE,
        "NAME": f"{CONTROL_DATABASE['NAME']}_django_other",
    },
}
DATABASE_ROUTERS = [other.OtherRouter(), *TENANTRY_ROUTERS]
INSTALLED_APPS = [
    "tenants",
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sites",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.staticfiles",
    "auth_tests",
]
# The tests' models have no migrations and refer to models of these apps, whose tables must come as early.
MIGRATION_MODULES = {"auth": None, "contenttypes": None, "sessions": None}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = False  # some fixtures have times without a zone
TIME_ZONE = "UTC"  # that of the engine's sessions
SITE_ID = 1
LANGUAGE_CODE = "en"
ROOT_URLCONF = "urls"
STORAGES = {**TENANTRY_STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
STATIC_URL = "static/"
STATIC_ROOT = str(TESTS / "static")
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [TESTS / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
SILENCED_SYSTEM_CHECKS = ["fields.W342"]
LOGGING = deepcopy(DEFAULT_LOGGING)
LOGGING["loggers"]["django"]["level"] = "ERROR"
