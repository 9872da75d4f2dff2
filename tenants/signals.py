"""What other apps may want to know of a tenant's life. Receivers run in control, and one that raises stops what it hears of."""

from __future__ import annotations

from django.dispatch import Signal

# Inside control's transaction that changes the state. Arguments: tenant (the row as it will be), former (the state that it was in).
tenant_state_changed = Signal()

# When database, role, files and cache of a tenant are gone and its row isn't yet. Arguments: tenant (a TenantRef). It is sent again
# when the deletion was interrupted, so a receiver must bear to hear it twice.
tenant_deleted = Signal()
