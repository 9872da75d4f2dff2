"""The async twin of the connection layer, for `stream`: queries of the active tenant from an event loop, without a thread.

    members = await aio.fetch(User.objects.filter(role="owner").select_related(…))
    async with aio.transaction(): …
    async with aclosing(aio.copy("COPY … TO STDOUT (FORMAT csv)")) as blocks: …

queries and copying are what is called; compiling turns querysets into SQL and rows into instances; route finds the endpoint; pools and
pool lend the connections.
"""

from tenants.db.aio.compiling import dialect
from tenants.db.aio.copying import copy
from tenants.db.aio.pools import close_all, maintain
from tenants.db.aio.queries import Result, execute, fetch, fetch_one, transaction

__all__ = [
    "Result",
    "close_all",
    "copy",
    "dialect",
    "execute",
    "fetch",
    "fetch_one",
    "maintain",
    "transaction",
]
