"""Settings for the commands that run where the environment isn't complete: `up` makes one, `doctor` examines it,
and `activity_verify` needs none.

The real settings (TENANTRY_SETTINGS names their module) when the environment has all that they need, and otherwise just
enough for Django to find the command.
"""

import os
from importlib import import_module

from django.core.exceptions import ImproperlyConfigured

SETTINGS_ERROR = ""
try:
    settings = import_module(os.environ.get("TENANTRY_SETTINGS", "config.settings"))
    globals().update({name: value for name, value in vars(settings).items() if name.isupper()})
except ImproperlyConfigured as error:
    SETTINGS_ERROR = str(error)
    INSTALLED_APPS = ["tenants", "activity.proof"]
    DATABASES = {"default": {"ENGINE": "tenants.unbound"}, "control": {"ENGINE": "tenants.unbound"}}  # both refuse
    TIME_ZONE = "UTC"
