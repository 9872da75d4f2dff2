"""Settings for the commands that run where the environment isn't complete: `up` makes one, `doctor` examines it.

The real settings when the environment has all that they need, and otherwise just enough for Django to find the command.
"""

from django.core.exceptions import ImproperlyConfigured

SETTINGS_ERROR = ""
try:
    from config.settings import *  # noqa: F403
except ImproperlyConfigured as error:
    SETTINGS_ERROR = str(error)
    INSTALLED_APPS = ["tenants"]
    DATABASES = {"default": {"ENGINE": "tenants.unbound"}, "control": {"ENGINE": "tenants.unbound"}}  # both refuse
    USE_TZ = True
