"""Following the log: server-sent events of a tenant's activity, to any number of clients of one `stream` process.

    change stream ──wakes──▶ channel (one for each tenant that is followed) ──frames──▶ follower (one for each client)

A change stream says that there is something new, and no more. What is new, a channel reads from the log by number, behind the last one
that it has: so a change that was missed, seen twice or seen late costs nothing but time. A channel keeps its last frames; each follower
has a number of its own, and takes the frames behind it, or reads the log itself where it is further behind than those. Nobody waits for
anybody.

hub has all of them, opens and closes them, and asks each second whether the followers may still read; follow is the answer of the route.
"""

from activity.tail.follow import Follow
from activity.tail.hub import close

__all__ = ["Follow", "close"]
