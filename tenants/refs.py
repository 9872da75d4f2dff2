"""What is known of a tenant while it is served: frozen values, no models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class TenantRef:
    """A tenant and its route: which database of which server, and the role that may connect to it.

    `epoch` counts the generations of the route. The alias carries id and epoch and never the slug, so that nothing that is
    remembered by alias (objects, the ContentType cache) outlives a move, and a slug that is used again reaches nothing old.
    """

    id: str
    slug: str
    name: str
    plan: str
    state: str
    epoch: int
    server: str
    database: str
    role: str
    password: str = field(repr=False)
    schema_version: str = ""
    alias: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "alias", f"t:{self.id}:{self.epoch}")

    def __str__(self) -> str:
        return f"tenant {self.slug}"


@dataclass(frozen=True, slots=True)
class ControlRef:
    """The control database: registry and operators."""

    id: str = "control"
    slug: str = "control"
    name: str = "Control"
    alias: str = "control"

    def __str__(self) -> str:
        return "control"


CONTROL: Final = ControlRef()

Ref = TenantRef | ControlRef


def owner_of(alias: str) -> str:
    """The part of an alias that names its owner: `t:<id>:<epoch>` for a tenant's primary and its replicas alike.

    Replica aliases are `<alias of the primary>@<replica>`.
    """
    return alias.partition("@")[0]


def is_owned(alias: str | None) -> bool:
    """Whether an alias is a tenant's or control's. A project may have other databases, which are nobody's."""
    return alias is not None and (alias == CONTROL.alias or alias.startswith("t:"))
