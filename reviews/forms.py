"""What people type about campaigns and decisions."""

from collections.abc import Sequence
from datetime import datetime, time, timedelta
from typing import Any

from django import forms
from django.utils import timezone

from inventory.forms import SERVER_OWNERS, OwnerNamed, suggested_owners
from inventory.models import Connection, Environment
from inventory.states import CredentialKind, ServerRole, TrustModel
from lifecycle.actions.findings import LONGEST_REASON
from reviews.actions.signing import LONGEST_STATEMENT
from reviews.models import Campaign, ReviewItem
from reviews.states import DECOYS_AT_MOST, NoAnswer, Reviewed, Seat, What
from web.narrowing import Day

ROWS = {"environments": Environment, "connections": Connection}
PLAIN = ("name", "description", "reviewed", "kinds", "trust_models", "server_roles", "no_answer", "second_on_outliers")
DECOYS = f"None to {DECOYS_AT_MOST}: invented credentials that have to go. At most one for each five real ones."


SEATS = [(each.value, each.label) for each in (Seat.FIRST, Seat.SECOND)]


class Several(forms.MultipleChoiceField):
    def __init__(self, choices: Any, **options: Any) -> None:
        super().__init__(choices=choices, widget=forms.CheckboxSelectMultiple, **{"required": False, **options})


class CampaignForm(forms.Form):
    name = forms.CharField(max_length=120, help_text="As it stands in the evidence: “Q4, production”.")
    description = forms.CharField(required=False, max_length=2_000, widget=forms.Textarea({"rows": 2}))
    reviewed = Several(
        Reviewed.choices,
        label="What is reviewed",
        required=True,
        initial=[Reviewed.CREDENTIAL],
        error_messages={"required": "Say what is reviewed."},
    )
    due_on = forms.DateField(
        label="Due on",
        widget=Day,
        help_text="At the end of this day, UTC.",
    )
    lead = OwnerNamed(label="Lead", required=False, help_text="Name or e-mail of whoever sees it through and signs it.")
    no_answer = forms.ChoiceField(
        label="Where nobody answers",
        choices=NoAnswer.choices,
        initial=NoAnswer.ESCALATE,
        widget=forms.RadioSelect,
        help_text="To keep it is no choice: silence approves nothing.",
    )
    second_on_outliers = forms.BooleanField(label="What stands out takes two reviewers", required=False)
    decoys = forms.IntegerField(
        label="Decoys for each reviewer",
        min_value=0,
        max_value=DECOYS_AT_MOST,
        initial=0,
        required=False,
        help_text=DECOYS,
    )
    environments = forms.ModelMultipleChoiceField(
        Environment.objects.order_by("-criticality", "name"), required=False, widget=forms.CheckboxSelectMultiple
    )
    connections = forms.ModelMultipleChoiceField(Connection.objects.order_by("name", "pk"), required=False)
    kinds = Several(CredentialKind.choices, label="Kinds of credentials")
    trust_models = Several(TrustModel.choices, label="Trust models")
    server_roles = Several(ServerRole.choices, label="Roles of servers")
    tags = forms.CharField(required=False, max_length=600, help_text="Several with commas between them.")
    fresh_days = forms.IntegerField(
        label="A connection is stale after, in days", min_value=1, max_value=365, initial=3, required=False
    )
    repeat_days = forms.IntegerField(
        label="Repeat every, in days", min_value=1, max_value=731, required=False, help_text="Empty: once."
    )

    main = ("name", "description", "reviewed", "due_on", "lead", "no_answer", "second_on_outliers", "decoys")
    refused = {"due_at": "due_on", "fresh_within": "fresh_days", "repeats_every": "repeat_days"}  # noqa: RUF012

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["lead"].widget.suggestions = suggested_owners()  # type: ignore[attr-defined]

    @property
    def main_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.main]

    @property
    def scope_fields(self) -> list[forms.BoundField]:
        return [bound for bound in self if bound.name not in self.main]

    @property
    def is_scope_open(self) -> bool:
        return any(bound.value() for bound in self.scope_fields if bound.name != "fresh_days")

    def values(self) -> dict[str, Any]:
        """As the actions take them."""
        given = self.cleaned_data
        return {
            **{name: given[name] for name in PLAIN},
            **{name: [row.pk for row in given[name]] for name in ROWS},
            "lead": given["lead"],
            "decoys": given["decoys"] or 0,
            "tags": sorted({each.strip() for each in given["tags"].split(",") if each.strip()}),
            "due_at": timezone.make_aware(datetime.combine(given["due_on"], time(23, 59, 59))),
            "fresh_within": timedelta(days=given["fresh_days"] or 3),
            "repeats_every": timedelta(days=given["repeat_days"]) if given["repeat_days"] else None,
        }

    @staticmethod
    def said_by(campaign: Campaign) -> dict[str, Any]:
        return {
            **{name: getattr(campaign, name) for name in (*PLAIN, *ROWS, "decoys")},
            "lead": campaign.lead.name if campaign.lead else "",
            "tags": ", ".join(campaign.tags),
            "due_on": campaign.due_at.date(),
            "fresh_days": campaign.fresh_within.days or 1,
            "repeat_days": campaign.repeats_every.days if campaign.repeats_every else None,
        }


class StatementForm(forms.Form):
    statement = forms.CharField(
        max_length=LONGEST_STATEMENT,
        widget=forms.Textarea({"rows": 3}),
        help_text="In your own words; it goes into the evidence with your name.",
        error_messages={"required": "Say what you attest."},
    )


class DueForm(forms.Form):
    due_on = forms.DateField(
        label="Due on",
        widget=Day,
        help_text="At the end of this day, UTC.",
    )
    reason = forms.CharField(
        max_length=500, help_text="Kept in the audit chain with your name.", error_messages={"required": "Say why."}
    )

    @property
    def due_at(self) -> datetime:
        return timezone.make_aware(datetime.combine(self.cleaned_data["due_on"], time(23, 59, 59)))


class TriggerForm(forms.Form):
    """Whether something that occurs is reviewed by itself."""

    is_on = forms.BooleanField(label="Review it by itself", required=False)
    lead = OwnerNamed(label="Lead", required=False, help_text="Sees it through and signs. Nobody: any reviewer.")
    no_answer = forms.ChoiceField(label="Where nobody answers", choices=NoAnswer)
    days = forms.IntegerField(label="Days to answer", min_value=1, max_value=365)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["lead"].widget.suggestions = suggested_owners()  # type: ignore[attr-defined]


class DecisionForm(forms.Form):
    """What a decision says beside what it is: a reason, who takes over, what remains."""

    reason = forms.CharField(
        max_length=LONGEST_REASON,
        required=False,
        widget=forms.TextInput({"autofocus": True, "autocomplete": "off"}),
        help_text="Kept with the decision and your name.",
    )

    def __init__(self, *args: Any, what: What, items: Sequence[ReviewItem], **options: Any) -> None:
        super().__init__(*args, **options)
        first = items[0]
        if what is What.REASSIGN:
            self.fields["to"] = OwnerNamed(label="To whom", help_text="Name or e-mail of an active owner.")
            self.fields["to"].widget.suggestions = suggested_owners()  # type: ignore[attr-defined]
            if first.kind == Reviewed.SERVER:
                self.fields["role"] = forms.ChoiceField(label="As", choices=SERVER_OWNERS, widget=forms.RadioSelect)
        if what is What.REDUCE:
            for name, fact, label in (("scopes", "scopes", "Scopes that remain"), ("tools", "granted", "Tools remain")):
                held = first.facts.get(fact) or []
                if held:
                    self.fields[name] = Several([(each, each) for each in held], label=label, initial=held)
        self.order_fields(["to", "role", "scopes", "tools", "reason"])

    def detail(self) -> dict[str, Any]:
        return {name: self.cleaned_data[name] for name in ("role", "scopes", "tools") if name in self.fields}


class HandOnForm(forms.Form):
    """To whom a part goes. Whoever runs a campaign says which part."""

    seat = forms.ChoiceField(label="Which part", choices=SEATS)
    to = OwnerNamed(label="To whom", help_text="Name or e-mail of a person.")
    reason = forms.CharField(
        max_length=500, help_text="Kept in the audit chain with your name.", error_messages={"required": "Say why."}
    )

    def __init__(self, *args: Any, is_own: bool, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["to"].widget.suggestions = suggested_owners()  # type: ignore[attr-defined]
        if is_own:
            del self.fields["seat"]
