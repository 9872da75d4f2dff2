"""Models whose changes are recorded by themselves: created, updated with what changed, deleted.

class Invoice(Audited):
    audit_secret: ClassVar[frozenset[str]] = frozenset({"iban"})
    ...

Each change and its event commit together. What goes through the model or its manager is recorded: `save`, `delete`, `create`,
`get_or_create`, `update_or_create`, `update`, `bulk_create`, `bulk_update`, a queryset's `delete`, related managers, and what the
deletion of another object does to this one. What can't be is refused with NotAuditable. What goes past them isn't recorded: raw
SQL, `loaddata`, the models of migrations, and the rows of a many-to-many table.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, ClassVar, Final, Self

from django.core import checks
from django.db import models, transaction
from django.db.models.signals import class_prepared, post_save, pre_delete
from django.dispatch import receiver

from activity.audit_columns import attnames_of, own, told_of, values_of, written_by
from activity.audit_events import CREATED, DELETED, UPDATED, event_classes, record_soon, recorded_together
from activity.audit_values import shown
from activity.canonical import MAX_NAME
from activity.errors import NotAuditable
from activity.events import Event, Target
from tenants.context import current
from tenants.refs import owner_of

_SAVE: Final = ("force_insert", "force_update", "using", "update_fields")  # the order in which `save` takes them


class AuditedQuerySet(models.QuerySet[Any]):
    """A queryset whose changes are recorded: a few statements for each thousand objects, whatever their number."""

    def update(self, **kwargs: Any) -> int:
        """Change the rows that match, and record for each what changed; they are locked and read before."""
        if self.query.is_sliced:
            return super().update(**kwargs)  # which refuses it
        self._for_write = True
        fields = attnames_of(self.model, kwargs)
        if self.model._meta.pk.attname in fields:
            raise NotAuditable(f"update() of the key of {self.model._meta.label} would make other objects of them.")
        with transaction.atomic(using=self.db), recorded_together():
            base = self.model._base_manager.using(self.db)
            former = base.filter(pk__in=self.order_by().values("pk")).select_for_update().in_bulk()
            if not former:
                return 0
            mine = self.filter(pk__in=list(former))
            count = super(AuditedQuerySet, mine).update(**kwargs)
            for pk, *values in base.filter(pk__in=list(former)).order_by("pk").values_list("pk", *fields):
                news = dict(zip(fields, values, strict=True))
                former[pk].__dict__.update(news)  # the event's target is named as it is now
                former[pk]._audit_changed(news)
        return count

    update.alters_data = True  # type: ignore[attr-defined]

    def bulk_create(self, objs: Iterable[Any], *args: Any, **kwargs: Any) -> list[Any]:
        """Insert objects and record each. Raises NotAuditable for conflicts, of which Postgres doesn't say which rows they were."""
        if any(args[1:3]) or kwargs.get("ignore_conflicts") or kwargs.get("update_conflicts"):
            raise NotAuditable(
                f"bulk_create of {self.model._meta.label} can't ignore or update conflicts, since it isn't told which rows were"
                " inserted. Lock and read those that are there, and create the others."
            )
        self._for_write = True
        with transaction.atomic(using=self.db), recorded_together():
            made = super().bulk_create(objs, *args, **kwargs)
            for each in made:
                each._audit_record(CREATED, {"fields": each._audit_fields(values_of(each))})
        return made

    bulk_create.alters_data = True  # type: ignore[attr-defined]

    def bulk_update(self, objs: Iterable[Any], fields: Iterable[str], *args: Any, **kwargs: Any) -> int:
        """Write these fields of the objects, and record what changed: Django does it by `update`."""
        objs, fields = list(objs), list(fields)
        count = super().bulk_update(objs, fields, *args, **kwargs)
        for each in objs:
            each._audit_forget(attnames_of(self.model, fields))
        return count

    bulk_update.alters_data = True  # type: ignore[attr-defined]

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete the rows that match, and record each; and those of other audited models that go with them."""
        self._for_write = True
        with transaction.atomic(using=self.db), recorded_together():
            return super().delete()

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]


AuditedManager = models.Manager.from_queryset(AuditedQuerySet)


class Audited(models.Model):
    """Base of models whose changes are recorded; see the module. A manager of your own derives from AuditedManager or AuditedQuerySet."""

    # What the actions begin with: `invoice` in invoice.created. By itself it is the model's name.
    audit_name: ClassVar[str] = ""
    # Fields of which it is told that they changed, and no more; and those that are no secrets, though their names look so.
    audit_secret: ClassVar[frozenset[str]] = frozenset()
    audit_plain: ClassVar[frozenset[str]] = frozenset()
    # Fields that aren't told of, and whose change alone is no event.
    audit_ignore: ClassVar[frozenset[str]] = frozenset()
    # Whether the object is a person: erasing them takes fields and name away.
    audit_personal: ClassVar[bool] = False

    _audit_classes: ClassVar[dict[str, type[Event]]]
    # The columns as they are known to be in the database. Replaced, never changed: copies of an object share it.
    _audit_known: Mapping[str, Any] = {}

    objects: ClassVar[models.Manager[Any]] = AuditedManager()

    class Meta:
        abstract = True
        base_manager_name = "objects"  # what Django does behind an object's back goes by it: SET_NULL, related managers

    # --- Django's methods

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save, and record what was created or changed. What isn't known of the row before is asked for: one query, if any."""
        with transaction.atomic(), recorded_together():
            self._audit_ask(**dict(zip(_SAVE, args, strict=False)), **kwargs)
            super().save(*args, **kwargs)

    save.alters_data = True  # type: ignore[attr-defined]

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete, and record it; and what of other audited models goes with it."""
        with transaction.atomic(), recorded_together():
            return super().delete(*args, **kwargs)

    delete.alters_data = True  # type: ignore[attr-defined]

    @classmethod
    def from_db(cls, db: str | None, field_names: Collection[str], values: Collection[Any], **options: Any) -> Self:
        loaded = super().from_db(db, field_names, values, **options)
        loaded._audit_known = {name: own(value) for name, value in zip(field_names, values, strict=True)}
        return loaded

    def refresh_from_db(
        self,
        using: str | None = None,
        fields: Iterable[str] | None = None,
        from_queryset: models.QuerySet[Self] | None = None,
    ) -> None:
        names = None if fields is None else list(fields)
        super().refresh_from_db(using, names, from_queryset)
        self._audit_known = {
            **self._audit_known,
            **values_of(self, None if names is None else attnames_of(type(self), names)),
        }

    @classmethod
    def check(cls, **kwargs: Any) -> list[checks.CheckMessage]:
        """Whether all managers of the model record what they change."""
        managers: list[Any] = [*cls._meta.managers, cls._base_manager]
        unaware = [
            manager.name
            for manager in dict.fromkeys(managers)
            if not issubclass(manager._queryset_class, AuditedQuerySet)
        ]
        return [
            *super().check(**kwargs),
            *(
                checks.Error(
                    f"The manager {name!r} of the audited model changes rows without recording it.",
                    hint="Derive it from activity.audit.AuditedManager, or its queryset from AuditedQuerySet.",
                    obj=cls,
                    id="activity.E001",
                )
                for name in unaware
            ),
        ]

    # --- What an app may say otherwise

    def audit_target(self) -> Target:
        """What the events are about."""
        return Target(self._audit_noun(), str(self.pk), str(self)[:MAX_NAME])

    def audit_event(self, what: str, facts: Mapping[str, Any]) -> Event | None:
        """The event when this object is `created`, `updated` or `deleted`; None when there shall be none.

        `facts` are `fields`, or `changes`, with short values and secrets masked.
        """
        return self._audit_classes[what](target=self.audit_target(), **facts)

    # --- What is known of the row

    def _audit_ask(self, *, force_insert: Any = False, update_fields: Iterable[str] | None = None, **_: Any) -> None:
        """Lock the row and read those of its columns that are about to be written and aren't known."""
        primary = self._meta.pk
        if force_insert or self.pk is None or (self._state.adding and primary.has_default()):
            return  # it is going to be inserted
        if self._audit_known.get(primary.attname, self.pk) != self.pk:
            self._audit_known = {}  # it was another row's
        unknown = [name for name in written_by(self, update_fields) if name not in self._audit_known]
        if unknown:
            row = type(self)._base_manager.filter(pk=self.pk).select_for_update().values(*unknown).first()
            self._audit_known = {**self._audit_known, **(row or {})}

    def _audit_forget(self, attnames: Collection[str]) -> None:
        self._audit_known = {name: value for name, value in self._audit_known.items() if name not in attnames}

    def _audit_trust_after_commit(self, attnames: Collection[str]) -> None:
        """What was just saved is what the row has once that has committed. Until then, and after a rollback, the row is asked."""
        saved = values_of(self, attnames)
        self._audit_forget(attnames)

        def trust() -> None:
            self._audit_known = {**self._audit_known, **saved}

        transaction.on_commit(trust)

    # --- Events

    @classmethod
    def _audit_noun(cls) -> str:
        return cls.audit_name or str(cls._meta.concrete_model._meta.model_name)  # type: ignore[union-attr]

    def _audit_fields(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the columns' values that are told of, by field, as an event has them."""
        told = {
            field.name: values[field.attname]
            for field in told_of(type(self), self.audit_ignore)
            if field.attname in values
        }
        return shown(told, secret=self.audit_secret, plain=self.audit_plain)

    def _audit_changed(self, news: Mapping[str, Any]) -> None:
        """Record what is different about columns that have these values now."""
        former = self._audit_known
        changed = {name: value for name, value in news.items() if name not in former or former[name] != value}
        before = self._audit_fields({name: former.get(name) for name in changed})
        after = self._audit_fields(changed)
        if after:
            self._audit_record(UPDATED, {"changes": {name: [before[name], after[name]] for name in after}})

    def _audit_record(self, what: str, facts: Mapping[str, Any]) -> None:
        alias = self._state.db
        if alias is not None and owner_of(alias) != current().alias:
            raise NotAuditable(
                f"{self._meta.label} isn't kept in the database of {current()}, where its event would be."
            )
        event = self.audit_event(what, facts)
        if event is not None:
            record_soon(event)


# --- Signals: of the audited models alone, since Django deletes rows of models that have any one by one -----------------------


@receiver(class_prepared, dispatch_uid="activity.audit")
def _prepare(sender: type[models.Model], **_: Any) -> None:
    if not issubclass(sender, Audited) or sender._meta.abstract:
        return
    sender._audit_classes = event_classes(sender, noun=sender._audit_noun(), personal=sender.audit_personal)
    post_save.connect(_saved, sender=sender, dispatch_uid=f"activity.audit.{sender._meta.label}")
    pre_delete.connect(_about_to_be_deleted, sender=sender, dispatch_uid=f"activity.audit.{sender._meta.label}")


def _saved(*, instance: Audited, created: bool, raw: bool, update_fields: frozenset[str] | None, **_: Any) -> None:
    """Within the transaction of `save`."""
    if raw:  # loaddata, which has its own idea of what was when
        return
    written = written_by(instance, update_fields)
    news = values_of(instance, written)
    computed = [name for name in written if name not in news]
    if computed:  # by an expression: only the database knows
        news |= type(instance)._base_manager.using(instance._state.db).filter(pk=instance.pk).values(*computed).get()
    if created:
        fields = instance._audit_fields({**news, instance._meta.pk.attname: instance.pk})
        instance._audit_record(CREATED, {"fields": fields})
    else:
        instance._audit_changed(news)
    instance._audit_trust_after_commit([*written, instance._meta.pk.attname])


def _about_to_be_deleted(*, instance: Audited, **_: Any) -> None:
    """Recorded before, while what the object's name is made of is still there; within the transaction of the deletion."""
    deferred = instance.get_deferred_fields()
    if deferred:
        instance.refresh_from_db(fields=list(deferred))
    fields = instance._audit_fields({**values_of(instance), **instance._audit_known})
    instance._audit_record(DELETED, {"fields": fields})
