"""Every error of webhooks.

WebhookError
├── WebhookNotFound         no such webhook, or no such delivery of it
├── WebhookInvalid          one of its fields can't be accepted
│   └── AddressRefused      the address isn't one that may be sent to
└── TooManyWebhooks         the organisation has as many as it may have
"""

from __future__ import annotations

from collections.abc import Mapping

from tenants.errors import TenantryError


class WebhookError(TenantryError):
    """Base of the errors of webhooks."""


class WebhookNotFound(WebhookError):
    """Raised when an id names no webhook here, or no delivery of it."""

    status = 404

    def __init__(self, what: str = "webhook") -> None:
        super().__init__(f"There is no such {what}.")


class WebhookInvalid(WebhookError):
    """Raised when a field can't be accepted. `errors` has the sentences by field."""

    status = 422

    def __init__(self, errors: Mapping[str, list[str]]) -> None:
        super().__init__(next(iter(errors.values()))[0])
        self.errors = dict(errors)


class AddressRefused(WebhookInvalid):
    """Raised when an address isn't one that Tenantry sends to: not https, not public, or not there."""

    def __init__(self, sentence: str) -> None:
        super().__init__({"url": [sentence]})


class TooManyWebhooks(WebhookError):
    """Raised when the organisation has as many webhooks as it may have."""

    status = 409

    def __init__(self, limit: int) -> None:
        super().__init__(f"An organisation may have {limit} webhooks; remove one that isn't in use.")
