"""The one change that documents of the log ever see: the terms of what tells of a person are computed anew from what can still be read."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from pymongo import UpdateOne

from activity import mongo, personal
from activity.canonical import moment_text
from activity.log import READ_TIMEOUT
from tenants.refs import Ref

UPDATED_AT_ONCE: Final = 200


def reindex(ref: Ref, subjects: Collection[str], first: int, last: int) -> int:
    """Compute the terms anew of the events numbered `first` to `last` that tell of people with these digests; answers how many there were.

    Again it changes nothing. Raises LogUnavailable and SubjectKeysUnavailable.
    """
    count = 0
    with mongo.reachable():
        for subject in subjects:
            found = {"tenant": ref.id, "terms": f"p:{subject}", "seq": {"$gte": first, "$lte": last}}
            documents = list(mongo.events().find(found).max_time_ms(READ_TIMEOUT))
            events = [{**document, "at": moment_text(document["at"])} for document in documents]
            updates = [
                UpdateOne({"_id": document["_id"]}, {"$set": {"terms": terms}})
                for document, terms in zip(documents, personal.terms(ref, events), strict=True)
                if terms != document["terms"]
            ]
            for start in range(0, len(updates), UPDATED_AT_ONCE):
                mongo.events().bulk_write(updates[start : start + UPDATED_AT_ONCE], ordered=False)
            count += len(documents)
    return count


def is_mentioned_from(ref: Ref, subjects: Collection[str], first: int) -> bool:
    """Whether an event numbered `first` or higher tells of one of these people. Raises LogUnavailable."""
    with mongo.reachable():
        return any(
            mongo.events().find_one(
                {"tenant": ref.id, "terms": f"p:{subject}", "seq": {"$gte": first}},
                {"_id": 1},
                max_time_ms=READ_TIMEOUT,
            )
            for subject in subjects
        )
