"""What happens to the log that apps above this one may want to know of."""

from __future__ import annotations

from django.dispatch import Signal

# A relay has looked at the outbox, and what was there is in the log; perhaps nothing was. Sent inside the tenant (or control), before the
# database is noted as clean: a receiver that was killed, or that raises, is sent it again. Argument: ref.
events_appended = Signal()
