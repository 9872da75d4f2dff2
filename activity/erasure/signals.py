"""What other apps may want to do when a person is erased."""

from __future__ import annotations

from django.dispatch import Signal

# Inside a transaction of the tenant: throw away what may hold an event in clear. Argument: subjects (digests). It is sent again, so a
# receiver must bear to hear it twice.
person_erased = Signal()
