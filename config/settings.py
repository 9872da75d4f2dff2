"""Tenantry's settings, read top to bottom. Values come from the environment (docs/configuration.md lists all of them)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from celery.schedules import crontab

from config import env, gis
from tenants import logs
from tenants.db.urls import database
from tenants.mongo_watch import MongoWatch
from tenants.secrets import TenantSecretKey

# --- The process ---------------------------------------------------------------------------------------------------------

BASE_DIR = Path(__file__).resolve().parent.parent
DEBUG = False
TENANTRY_DEV = env.boolean("TENANTRY_DEV")  # set by `manage.py up`: the page of sent mails, cookies over plain http
TENANTRY_PROCESS = env.text("TENANTRY_PROCESS", "cli")  # web, stream, worker, beat or cli
DATA_DIR = Path(env.text("DATA_DIR", str(BASE_DIR / ".local")))

# --- Secrets -------------------------------------------------------------------------------------------------------------

# Whatever signs (sessions, reset links, signed ids) uses a key derived for the tenant that is active.
SECRET_KEY = TenantSecretKey(env.text("SECRET_KEY"))
CREDENTIALS_KEYS = env.text("CREDENTIALS_KEYS")  # "id:base64 of 32 bytes", the first one encrypts, all decrypt
ACTIVITY_SIGNING_KEYS = env.text(
    "ACTIVITY_SIGNING_KEYS"
)  # "id:base64 of 32 bytes", Ed25519: the first signs, all verify

# --- Hosts ---------------------------------------------------------------------------------------------------------------

BASE_DOMAIN = env.text("BASE_DOMAIN", "localhost")
# tenants.middleware answers 404 to any host that isn't the base domain's or a tenant's, which is stricter than a pattern.
ALLOWED_HOSTS = ["*"]
WEB_URL = env.text("WEB_URL", f"http://{BASE_DOMAIN}:8000" if TENANTRY_DEV else f"https://{BASE_DOMAIN}")
STREAM_URL = env.text("STREAM_URL", WEB_URL)
ROOT_URLCONF = "config.urls"
TENANT_URLCONF = "config.urls_tenant"
WSGI_APPLICATION = "config.wsgi.application"
APPEND_SLASH = False

# --- Apps: a team adds its own to LOCAL_APPS, or in a settings module that imports this one -------------------------------

INSTALLED_APPS = [
    "tenants",  # first: it installs the connection handler before any model is imported
    "activity",
    "activity.jobs",
    "activity.proof",
    "activity.archive",
    "activity.erasure",
    "activity.webhooks",
    "activity.schedules",
    "activity.usage",
    "accounts",
    "tenants.admin_site.OperatorsAdminConfig",  # django.contrib.admin
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "django_htmx",
    "django_structlog",
    "ninja",
    "csp",
    *env.names("TENANT_APPS"),
]
# Which database a model lives in (tenants.router). Apps named in neither list live in the tenants' databases alone.
CONTROL_APPS = {"tenants"}
SHARED_APPS = {"accounts", "activity", "jobs", "admin", "auth", "contenttypes", "sessions", "account", "mfa"}

# --- Databases -----------------------------------------------------------------------------------------------------------

# `default` is the active tenant's primary (tenants.db.handler); the entry here refuses to connect.
CONTROL_DATABASE = database(env.text("CONTROL_DATABASE_URL"))
TENANT_SERVERS = env.tenant_servers(env.text("TENANT_SERVERS", "{}"))
MONGO_URL = env.text("MONGO_URL")
DATABASES: dict[str, dict[str, Any]] = {
    "default": {"ENGINE": "tenants.unbound"},
    "control": {"ENGINE": "tenants.db", **CONTROL_DATABASE},
    "mongo": {
        "ENGINE": "django_mongodb_backend",
        "HOST": MONGO_URL,
        "NAME": urlsplit(MONGO_URL).path.lstrip("/") or "tenantry",
        "OPTIONS": {
            "serverSelectionTimeoutMS": 2000,
            "connectTimeoutMS": 2000,
            "socketTimeoutMS": 10000,
            "maxPoolSize": 20,
            "w": "majority",
            "journal": True,
            "appname": f"tenantry-{TENANTRY_PROCESS}",
            "event_listeners": [MongoWatch()],
        },
    },
}
DATABASE_ROUTERS = ["tenants.router.TenantRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
GDAL_LIBRARY_PATH = env.text("GDAL_LIBRARY_PATH", "") or gis.NoLibrary()

# The pool of each Postgres endpoint in this process; a URL's query may say otherwise for its server (`?pool_max=20`).
THREADS = env.number("THREADS", 16)
# In web, what a tenant runs and has waiting stays below the number of threads, so that it can't hold all of them.
MAX_PER_TENANT = max(1, THREADS * 5 // 8)
POOL: dict[str, float] = {
    "max": env.number("POOL_MAX", 20),
    "max_per_tenant": env.number("POOL_MAX_PER_TENANT", MAX_PER_TENANT if TENANTRY_PROCESS == "web" else 1_000),
    "max_waiting": env.number("POOL_MAX_WAITING", 100),
    "max_waiting_per_tenant": max(1, THREADS - MAX_PER_TENANT - 1) if TENANTRY_PROCESS == "web" else 1_000,
    "timeout": 5.0,
    "tenant_timeout": 1.0,
    "max_idle": 300.0,
    "max_lifetime": 3600.0,
}
# The processes of these kinds share each server's connections by leases (tenants.db.budget), up to its limit less the reserve: for
# administrators, commands, provisioning and the monitors of replicas.
POOL_LEASES = env.boolean("POOL_LEASES", default=TENANTRY_PROCESS in {"web", "stream", "worker", "beat"})
POOL_RESERVE = env.number("POOL_RESERVE", 10)
# Seconds, sent as start-up options of each connection (tenants.limits): none is set on the hot path. A process that isn't
# named here (cli: migrations, imports by hand) has no limits.
TIME_LIMITS: dict[str, dict[str, float]] = {
    "web": {"statement": 10, "lock": 5, "idle_in_transaction": 15, "transaction": 30},
    "stream": {"statement": 60, "lock": 5, "idle_in_transaction": 30, "transaction": 300},
    "worker": {"statement": 600, "lock": 30, "idle_in_transaction": 300, "transaction": 1800},
    "beat": {"statement": 10, "lock": 5, "idle_in_transaction": 15, "transaction": 30},
}
# What a plan has of the time for statements and transactions.
PLAN_SHARES = {"free": 0.5, "team": 1.0, "business": 2.0}
# Seconds for which a process may serve a tenant's route from memory: rights and routes change within it.
DIRECTORY_TTL = 1.0
REPLICA_SAMPLE_INTERVAL = 0.5
TENANTS_EVENT_RECORDER = "activity.outbox.record"
TENANTS_NATIVE_AUTHENTICATION = "accounts.native_auth.authenticate"  # who calls a native route of `stream`
TENANTS_NATIVE_SESSIONS = "accounts.native_sessions.authenticate"  # the same by a session's cookie, where that counts
TENANTS_NATIVE_CALLERS = (
    "accounts.native_callers.still_allowed"  # who of them may still do something, while an answer lasts
)
TENANTS_SIGN_UP = "accounts.signup.tenant_sign_up"  # what tenant_create calls

# --- Cache, files, sessions ----------------------------------------------------------------------------------------------

REDIS_URL = env.text("REDIS_URL")
CACHES = {"default": {"BACKEND": "tenants.cache.TenantCache", "LOCATION": REDIS_URL}}
STORAGES = {
    "default": {"BACKEND": "tenants.storage.TenantStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
MEDIA_ROOT = DATA_DIR / "files"
STATIC_ROOT = Path(env.text("STATIC_ROOT", str(DATA_DIR / "static")))
STATIC_URL = "/static/"
WHITENOISE_MANIFEST_STRICT = False  # a page whose picture is missing is better than no page
SESSION_ENGINE = "django.contrib.sessions.backends.db"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "accounts.views.errors.csrf_failure"
CSRF_USE_SESSIONS = True  # the token lives in the tenant's session, so that one of A is nothing in B
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

# --- Requests ------------------------------------------------------------------------------------------------------------

MIDDLEWARE = [
    "tenants.request_id.RequestIdMiddleware",
    "tenants.metrics.RequestMetricsMiddleware",
    "tenants.health.HealthMiddleware",  # before any redirect to https: probes speak http
    "tenants.body_limit.BodyLimitMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "accounts.middleware.TokenRequestMiddleware",  # API requests with a token need nothing of what follows
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "tenants.middleware.TenantMiddleware",
    "tenants.middleware.ReadYourWritesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.middleware.RecordingMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024

# --- Accounts ------------------------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
SILENCED_SYSTEM_CHECKS = [
    "auth.W004"
]  # e-mail addresses are unique without case, by a constraint that the check doesn't know
AUTHENTICATION_BACKENDS = ["accounts.backends.EmailBackend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.ScryptPasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ("email", "name")},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
PASSWORD_RESET_TIMEOUT = 60 * 60
SESSION_COOKIE_AGE = 14 * 24 * 60 * 60
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
# How many proxies of ours add to X-Forwarded-For; with 0 the header is a client's claim and doesn't count.
TRUSTED_PROXIES = env.number("TRUSTED_PROXIES", 0)

ACCOUNT_ADAPTER = "accounts.adapter.AccountAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"  # an invitation, or the sign-up, has shown that the address is theirs
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_LOGOUT_REDIRECT_URL = LOGIN_URL
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_PREVENT_ENUMERATION = True
# accounts.sign_in_limits has the limits; allauth's own would refuse every sign-in while Valkey is away. Its limit of failed
# attempts stays for second factors.
ACCOUNT_RATE_LIMITS = dict.fromkeys(
    (
        "change_password",
        "login",
        "manage_email",
        "reauthenticate",
        "reset_password",
        "reset_password_from_key",
        "signup",
    )
)

# --- Security ------------------------------------------------------------------------------------------------------------

if not TENANTRY_DEV:
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    SECURE_SSL_REDIRECT = env.boolean("SECURE_SSL_REDIRECT", default=True)
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.boolean("TRUST_FORWARDED_PROTO") else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "object-src": ["'none'"],
        "base-uri": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    },
}

# --- The activity log ----------------------------------------------------------------------------------------------------

# Days for which a plan keeps events; None: for ever. A tenant may keep them for less long.
ACTIVITY_RETENTION: dict[str, int | None] = {"free": 90, "team": 400, "business": None}

# --- Live tails ----------------------------------------------------------------------------------------------------------

# How many live tails a process of `stream` serves at once, and how many of them are one tenant's.
TAIL_MAX = env.number("TAIL_MAX", 5_000)
TAIL_MAX_PER_TENANT = env.number("TAIL_MAX_PER_TENANT", 1_000)

# --- The outboxes --------------------------------------------------------------------------------------------------------

# MiB of events that wait for MongoDB in one tenant's outbox, and in all of a server's: from where on operators are told, and from where
# on no more events are sent in from outside. What people do is always recorded.
OUTBOX_ALARM_MB = env.number("OUTBOX_ALARM_MB", 256)
OUTBOX_FULL_MB = env.number("OUTBOX_FULL_MB", 1024)
OUTBOX_SERVER_ALARM_MB = env.number("OUTBOX_SERVER_ALARM_MB", 4096)
OUTBOX_SERVER_FULL_MB = env.number("OUTBOX_SERVER_FULL_MB", 16384)

# --- Jobs ----------------------------------------------------------------------------------------------------------------

JOB_LEASE = env.number("JOB_LEASE", 15)  # seconds for which a worker has a job, unless it says that it goes on
JOB_TIME_LIMIT = env.number("JOB_TIME_LIMIT", 6 * 60 * 60)  # seconds for an attempt, unless its kind says otherwise
UPLOAD_MAX_BYTES = env.number("UPLOAD_MAX_MB", 100) * 1024 * 1024
# By plan: a tenant's share of the turns, among those whose jobs wait, and how many of its jobs may run at once.
JOB_WEIGHTS = env.plan_numbers("JOB_WEIGHTS", "free=1,team=2,business=4")
JOBS_AT_ONCE = env.plan_numbers("JOBS_AT_ONCE", "free=2,team=4,business=8")
# By plan: days for which a job's file is kept (never longer than its job, 30), and MiB of such files in all; the oldest go first.
JOB_FILES_DAYS = env.plan_numbers("JOB_FILES_DAYS", "free=7,team=30,business=30")
JOB_FILES_MB = env.plan_numbers("JOB_FILES_MB", "free=1024,team=10240,business=102400")
# Minutes for which a signed link holds unless more is asked for; at most 7 days.
FILE_LINK_MINUTES = env.number("FILE_LINK_MINUTES", 15)
JOBS_STARTER_CHECK = "accounts.jobs.may_still"  # whether a job's actor may still do what the job does
ERASURE_SUBJECTS = "accounts.erasure.subjects_of"  # whether somebody may be erased, and all that is theirs
DOWNLOAD_TIMEOUT = 15 * 60 * 1000  # milliseconds that a streamed download, or a job's export, may take in Postgres

# A message is a hint and the row in Postgres the truth, so a lost one costs time and a repeated one changes nothing.
CELERY_BROKER_URL = REDIS_URL
CELERY_BROKER_TRANSPORT = "config.broker:Transport"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # the broker may be away for as long as it takes
CELERY_BROKER_CONNECTION_TIMEOUT = 2.0
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 600,  # seconds after which a message that a dead worker held is handed out again
    "socket_connect_timeout": 2.0,
    "socket_timeout": 10.0,  # longer than the worker's blocking pop of 1 s
    "socket_keepalive": True,
    "health_check_interval": 10,
}
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_DEFAULT_QUEUE = "tenantry"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_PUBLISH_RETRY = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False  # what is redelivered finds its work claimed
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_REDIRECT_STDOUTS = False
CELERY_DB_REUSE_MAX = None
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "config.beat:Scheduler"
CELERY_BEAT_SCHEDULE_FILENAME = str(DATA_DIR / "beat-schedule")
CELERY_BEAT_SCHEDULE: dict[str, dict[str, Any]] = {
    # A message that waited for longer than its interval is dropped: the next one does the same.
    "activity.sweep": {"task": "activity.sweep", "schedule": 2.0, "options": {"expires": 2.0}},
    "tenants.reap": {
        "task": "tenants.reap",
        "schedule": 300.0,
        "options": {"headers": {"tenant": "control"}, "expires": 300.0},
    },
    "jobs.sweep": {"task": "jobs.sweep", "schedule": 5.0, "options": {"expires": 5.0}},
    "usage.measure": {"task": "usage.measure", "schedule": 60.0, "options": {"expires": 60.0}},
    "usage.prune": {"task": "usage.prune", "schedule": crontab(hour="3", minute="20"), "options": {"expires": 3600.0}},
    "webhooks.sweep": {"task": "webhooks.sweep", "schedule": 3.0, "options": {"expires": 3.0}},
    "schedules.sweep": {"task": "schedules.sweep", "schedule": 3.0, "options": {"expires": 30.0}},
    "schedules.dispatch": {  # in all tenants: a row in control may have been lost
        "task": "tenants.fan_out",
        "kwargs": {"task": "schedules.dispatch"},
        "schedule": crontab(hour="4", minute="50"),
    },
    "webhooks.prune": {
        "task": "tenants.fan_out",
        "kwargs": {"task": "webhooks.prune"},
        "schedule": crontab(hour="4", minute="40"),
    },
    "jobs.prune": {
        "task": "tenants.fan_out",
        "kwargs": {"task": "jobs.prune"},
        "schedule": crontab(hour="4", minute="10"),
    },
    "activity.prune_log": {
        "task": "tenants.fan_out",
        "kwargs": {"task": "activity.prune_log"},
        "schedule": crontab(hour="2", minute="40"),
    },
    "activity.rollups": {
        "task": "tenants.fan_out",
        "kwargs": {"task": "activity.rollups"},
        "schedule": crontab(hour="2", minute="50"),
    },
    "activity.watch": {"task": "activity.watch", "schedule": 15.0, "options": {"expires": 15.0}},
    "activity.prune_known": {"task": "activity.prune_known", "schedule": crontab(hour="3", minute="10")},
    "accounts.prune": {
        "task": "tenants.fan_out",
        "kwargs": {"task": "accounts.prune"},
        "schedule": crontab(hour="3", minute="40"),
    },
}

# --- Webhooks ------------------------------------------------------------------------------------------------------------

# Hosts that tenants' webhooks may reach wherever they are, and without TLS; all others must be public, and spoken to over https.
WEBHOOK_ALLOWED_HOSTS = [host.lower() for host in env.names("WEBHOOK_ALLOWED_HOSTS")]

# --- Logs and metrics ----------------------------------------------------------------------------------------------------

LOGGING_CONFIG = "tenants.logs.configure"
LOGGING = logs.config(
    process=TENANTRY_PROCESS, level=env.text("LOG_LEVEL", "WARNING" if TENANTRY_PROCESS == "cli" else "INFO").upper()
)
SLOW_STATEMENT_MS = env.number("SLOW_STATEMENT_MS", 500)  # a statement that takes as long is logged; 0: none is
DJANGO_STRUCTLOG_CELERY_ENABLED = True
DJANGO_STRUCTLOG_CELERY_TASK_START_LOG_LEVEL = logging.DEBUG  # each task has one line, when it ends
DJANGO_STRUCTLOG_CELERY_TASK_FAILURE_LOG_LEVEL = logging.WARNING  # of what a task `throws`; else it is an error
METRICS_DIR = Path(env.text("METRICS_DIR", str(DATA_DIR / "metrics")))  # local to the machine, shared by its processes
TENANTS_PROBES = {"outbox": "activity.backlogs.probe"}  # parts of `/ready` that other apps tell of
# And what they add to `/metrics` when it is asked for.
TENANTS_METRICS = ["activity.backlogs.families", "activity.usage.selectors.families"]
TENANTS_OPERATOR_CHECK = "accounts.auth.is_operator"  # whether a request carries an operator's token

# --- Mail ----------------------------------------------------------------------------------------------------------------

DEFAULT_FROM_EMAIL = env.text("DEFAULT_FROM_EMAIL", f"Tenantry <no-reply@{BASE_DOMAIN}>")
EMAIL_BACKEND = "accounts.mail_backend.OutboxBackend" if TENANTRY_DEV else "django.core.mail.backends.smtp.EmailBackend"
EMAIL_HOST = env.text("EMAIL_HOST", "localhost")
EMAIL_PORT = env.number("EMAIL_PORT", 587)
EMAIL_HOST_USER = env.text("EMAIL_HOST_USER", "")
EMAIL_HOST_PASSWORD = env.text("EMAIL_HOST_PASSWORD", "")
EMAIL_USE_TLS = env.boolean("EMAIL_USE_TLS", default=True)
EMAIL_TIMEOUT = 10

# --- Limits --------------------------------------------------------------------------------------------------------------

RATE_LIMIT = env.text("RATE_LIMIT", "") or None  # of a token, such as "100/m"; unset: none
# New events that a tenant's product may send in a day, by plan; a plan that isn't named has no limit.
EVENTS_PER_DAY = env.plan_numbers(
    "EVENTS_PER_DAY", "" if TENANTRY_DEV else "free=100000,team=2000000,business=20000000"
)

# What a plan may use, by meter (tenants.plan_limits); a plan that isn't named has no limit, and by default none has one.
PLAN_LIMITS: dict[str, dict[str, int]] = {
    "members": env.plan_numbers("LIMIT_MEMBERS", ""),
    "storage_bytes": {plan: mb * 1024 * 1024 for plan, mb in env.plan_numbers("LIMIT_STORAGE_MB", "").items()},
    "requests": env.plan_numbers("LIMIT_REQUESTS_DAY", ""),
    "job_seconds": env.plan_numbers("LIMIT_JOB_SECONDS_DAY", ""),
}

# --- Language and time ---------------------------------------------------------------------------------------------------

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
