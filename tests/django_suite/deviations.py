"""The tests of django.contrib.auth that fail inside a tenant, each with the reason. One that passes doesn't belong here."""

DEVIATIONS: dict[str, str] = {}
