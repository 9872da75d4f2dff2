"""Which tenant is active: entered by a block, left by leaving the block, and never guessed.

Threads, tasks and the bodies of streaming responses start with none. Re-entering the active tenant is free; going to another
one, or leaving, inside an open `atomic()` is refused, since Django looks a transaction's connection up again on exit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar, copy_context
from typing import TypeVar

from tenants.errors import NoTenant, TenantSwitchRefused
from tenants.refs import CONTROL, Ref, TenantRef

T = TypeVar("T")

_active: ContextVar[Ref | None] = ContextVar("tenants_active", default=None)

# The handler says whether the transaction of an alias is open, and takes an alias's connections away. Set by tenants.db.handler,
# because this module must be importable before Django is set up.
_has_open_transaction: Callable[[str], bool] = lambda alias: False  # noqa: E731
_release: Callable[[str], None] = lambda alias: None  # noqa: E731


def set_connection_hooks(*, has_open_transaction: Callable[[str], bool], release: Callable[[str], None]) -> None:
    """Let the connection handler tell of open transactions, and release connections when a tenant is left."""
    global _has_open_transaction, _release
    _has_open_transaction = has_open_transaction
    _release = release


def active() -> Ref | None:
    """The active tenant or control, or None."""
    return _active.get()


def current() -> Ref:
    """The active tenant or control; raises NoTenant with neither."""
    ref = _active.get()
    if ref is None:
        raise NoTenant()
    return ref


def current_tenant() -> TenantRef:
    """The active tenant; raises NoTenant in control too."""
    ref = _active.get()
    if not isinstance(ref, TenantRef):
        raise NoTenant("This")
    return ref


@contextmanager
def use(ref: Ref) -> Iterator[Ref]:
    """Make `ref` the active tenant (or control) for the block, and give its connections back at the end.

    Raises TenantSwitchRefused when a transaction of the former tenant is open at the start, or one of this tenant at the end;
    then that transaction is rolled back and its connection closed, so that it can't be committed by whoever comes next.
    """
    former = _active.get()
    if former is not None and former.alias == ref.alias:
        yield ref
        return
    if former is not None and _has_open_transaction(former.alias):
        raise TenantSwitchRefused(active=str(former), wanted=str(ref))
    token = _active.set(ref)
    try:
        yield ref
    finally:
        left_open = _has_open_transaction(ref.alias)
        try:
            _release(ref.alias)
        finally:
            _active.reset(token)
        if left_open:
            raise TenantSwitchRefused(active=str(ref), wanted=str(former) if former else "no tenant")


def use_tenant(ref: TenantRef) -> AbstractContextManager[Ref]:
    """Make a tenant the active one for a block; see `use`."""
    return use(ref)


def use_control() -> AbstractContextManager[Ref]:
    """Make the control database the active one for a block; see `use`."""
    return use(CONTROL)


def bound(ref: Ref, iterator: Iterator[T]) -> Iterator[T]:
    """Run an iterator (a streaming response's body) with `ref` active while it makes its items, and only then.

    Its steps run in a context of their own, so that the consumer, which runs between them, keeps its own; the connections are
    given back when the iterator ends or is closed.
    """
    context = copy_context()
    block = use(ref)
    context.run(block.__enter__)
    try:
        while True:
            try:
                item = context.run(next, iterator)
            except StopIteration:
                return
            yield item
    finally:
        context.run(block.__exit__, None, None, None)
