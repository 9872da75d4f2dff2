"""The pages' forms: what people fill in, and how a service's refusal comes back beside the field that it is about."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib.auth.password_validation import password_validators_help_text_html
from django.utils import timezone

from accounts.errors import AccountsError, InvalidField
from accounts.events import subject_of_address
from accounts.roles import Role
from accounts.validation import MAX_EMAIL, MAX_PASSWORD
from tenants import time_zones
from tenants.errors import TenantryError

ROLE_HINTS = {
    Role.OWNER: "everything, including owners",
    Role.ADMIN: "members, invitations, settings",
    Role.MEMBER: "reads all, has tokens",
    Role.VIEWER: "reads only",
}


class ServiceForm(forms.Form):
    """A form whose fields are the keyword arguments of a service; `result` is what the service returned."""

    result: Any = None

    def submit(self, service: Callable[..., Any], **context: Any) -> bool:
        """Call the service with what was filled in and `context`. False when either refuses: see `errors`."""
        if not self.is_valid():
            return False
        try:
            self.result = service(**self.cleaned_data, **context)
        except InvalidField as refusal:
            for name, sentences in refusal.errors.items():
                for sentence in sentences:
                    self.add_error(name if name in self.fields else None, sentence)
        except (AccountsError, TenantryError) as refusal:
            self.add_error(None, refusal.message)
        return not self.errors


def role_choices() -> list[tuple[str, str]]:
    """The roles, each with what it may do."""
    return [(role.value, f"{role.label}: {hint}") for role, hint in ROLE_HINTS.items()]


def _email(label: str = "E-mail address", **attrs: str) -> forms.EmailField:
    return forms.EmailField(
        label=label, max_length=MAX_EMAIL, widget=forms.EmailInput({"autocomplete": "email", **attrs})
    )


def _new_password(label: str = "Password") -> forms.CharField:
    return forms.CharField(
        label=label,
        max_length=MAX_PASSWORD,
        strip=False,
        widget=forms.PasswordInput({"autocomplete": "new-password"}),
        help_text=password_validators_help_text_html(),
    )


class SignUpForm(ServiceForm):
    """A new organisation and its owner."""

    name = forms.CharField(
        label="Organisation",
        max_length=200,
        widget=forms.TextInput(
            {
                "autocomplete": "organization",
                "data-slug-from": "",
                "hx-get": "/signup/address",
                "hx-trigger": "propose delay:250ms",
                "hx-target": "#address",
                "hx-swap": "outerHTML",
                "hx-sync": "this:replace",
            }
        ),
    )
    slug = forms.CharField(
        label="Address",
        max_length=63,
        widget=forms.TextInput(
            {
                "autocomplete": "off",
                "autocapitalize": "none",
                "spellcheck": "false",
                "data-slug": "",
                "hx-get": "/signup/slug",
                "hx-trigger": "input changed delay:250ms",
                "hx-target": "#slug-answer",
                "hx-sync": "this:replace",
            }
        ),
    )
    owner_name = forms.CharField(label="Your name", max_length=200, widget=forms.TextInput({"autocomplete": "name"}))
    owner_email = _email("Your e-mail address")
    owner_password = _new_password()

    def clean_slug(self) -> str:
        return str(self.cleaned_data["slug"]).strip().lower()


class FindOrganisationForm(forms.Form):
    """The address of an organisation, whose sign-in somebody looks for."""

    slug = forms.CharField(
        max_length=63,
        widget=forms.TextInput(
            {"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false", "placeholder": "acme"}
        ),
    )

    def clean_slug(self) -> str:
        return str(self.cleaned_data["slug"]).strip().lower()


class InvitationForm(ServiceForm):
    """Whom to invite, as what."""

    email = _email(placeholder="name@example.com")
    role = forms.ChoiceField(choices=role_choices, initial=Role.MEMBER)


class AcceptInvitationForm(ServiceForm):
    """What an invited person adds to become a member."""

    name = forms.CharField(label="Your name", max_length=200, widget=forms.TextInput({"autocomplete": "name"}))
    password = _new_password("Choose a password")


class RoleForm(ServiceForm):
    """A member's role."""

    role = forms.ChoiceField(choices=role_choices)


class MemberForm(ServiceForm):
    """What may be changed of a member."""

    name = forms.CharField(max_length=200, required=False)
    role = forms.ChoiceField(choices=role_choices)


class OrganisationForm(ServiceForm):
    """What the organisation says of itself."""

    name = forms.CharField(max_length=200, widget=forms.TextInput({"autocomplete": "off"}))
    time_zone = forms.ChoiceField(help_text="By which scheduled jobs run, unless they have another one.")

    def __init__(self, *args: Any, time_zone: str, **kwargs: Any) -> None:
        """`time_zone`: the one that it has, which can be chosen whatever it is, so that nobody changes it unawares."""
        super().__init__(*args, **kwargs)
        zones: Any = self.fields["time_zone"]
        own = [] if time_zone in time_zones.offered() else [time_zone]
        zones.choices = time_zones.choices(*own)


class ProfileForm(ServiceForm):
    """One's own name."""

    name = forms.CharField(
        label="Your name", max_length=200, required=False, widget=forms.TextInput({"autocomplete": "name"})
    )


class PasswordForm(ServiceForm):
    """Another password, with the former one as proof."""

    former = forms.CharField(
        label="Your password now", strip=False, widget=forms.PasswordInput({"autocomplete": "current-password"})
    )
    password = _new_password("New password")


class EraseForm(ServiceForm):
    """Whom to erase from the activity log."""

    subject = forms.CharField(
        label="Who",
        max_length=254,
        help_text="As the activity log names them, such as member:0190a1b2-…, or the address of somebody who was only invited.",
        widget=forms.TextInput(
            {"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false", "placeholder": "member:id"}
        ),
    )

    def clean_subject(self) -> str:
        subject = str(self.cleaned_data["subject"]).strip()
        return subject if ":" in subject else subject_of_address(subject)


class TokenForm(ServiceForm):
    """A new API token."""

    LIFETIMES = (("30", "30 days"), ("90", "90 days"), ("365", "A year"), ("", "No expiry"))
    SCOPES = (
        ("*", "Everything that you may do"),
        ("read", "Read everything"),
        ("members.read", "Read members"),
        ("members.write", "Change members"),
        ("invitations.write", "Invite people"),
        ("activity.read", "Read the activity log"),
        ("activity.write", "Send activity events"),
        ("activity.erase", "Erase people from the activity log"),
        ("webhooks.write", "Change webhooks"),
        ("tenant.write", "Change the organisation"),
    )

    name = forms.CharField(
        max_length=100,
        help_text="What uses it, such as the name of a script.",
        widget=forms.TextInput({"autocomplete": "off"}),
    )
    scopes = forms.MultipleChoiceField(
        choices=SCOPES, initial=["read"], widget=forms.CheckboxSelectMultiple({"class": "form-check-input"})
    )
    expires_at = forms.ChoiceField(label="Expires after", choices=LIFETIMES, initial="90", required=False)

    def clean_expires_at(self) -> Any:
        days = self.cleaned_data["expires_at"]
        return timezone.now() + timedelta(days=int(days)) if days else None


class ImportForm(forms.Form):
    """What an import does with those who are members already, and whether it only says what it would do."""

    mode = forms.ChoiceField(
        label="Who is a member already",
        choices=[
            ("create_and_update", "is brought up to date"),
            ("create_only", "stays as they are"),
        ],
        initial="create_and_update",
        help_text="Members are recognised by their e-mail address, without case.",
    )
    dry_run = forms.BooleanField(label="Try it first: say what would be done, and change nobody", required=False)
