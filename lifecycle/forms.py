"""What people fill in to decide about findings."""

from datetime import date, timedelta
from typing import Any

from django import forms

from inventory.forms import OwnerNamed, suggested_owners
from inventory.models import Connection
from lifecycle.models.waivers import MOST_ACTIVE
from lifecycle.models.work import LONGEST_COMMENT
from lifecycle.states import LinkKind
from web.narrowing import Day


class DatesForm(forms.Form):
    """What somebody knows about a credential where no provider can be asked. An empty date leaves what is known."""

    issued_on = forms.DateField(label="Issued", required=False, widget=Day)
    last_used_on = forms.DateField(label="Last used", required=False, widget=Day)
    expires_on = forms.DateField(label="Expires", required=False, widget=Day)
    reason = forms.CharField(
        label="How you know",
        max_length=500,
        help_text="Auditors read this: the provider's page, a ticket, the person.",
        error_messages={"required": "Say where the dates come from."},
    )

    def __init__(self, *args: Any, today: date, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.today = today

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        for name in ("issued_on", "last_used_on"):
            if given.get(name) and given[name] > self.today:
                self.add_error(name, "That day has not come yet.")
        issued = given.get("issued_on")
        for name, words in (("last_used_on", "used"), ("expires_on", "expired")):
            if issued and given.get(name) and given[name] < issued:
                self.add_error(
                    name, f"It cannot have {words} before it was issued.".replace("have used", "have been used")
                )
        if not self.errors and not any(given.get(name) for name in ("issued_on", "last_used_on", "expires_on")):
            raise forms.ValidationError("Give at least one date.")
        return given


class WaiverForm(forms.Form):
    """What is asked for: why, what limits the risk meanwhile, and until when.

    `begins` is when the waiver would begin at the latest, `latest` the last day that the chosen findings allow.
    """

    reason = forms.CharField(
        label="Reason",
        max_length=2_000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Auditors read this. Say why it cannot be resolved before then.",
        error_messages={"required": "Say why the risk is acceptable until then."},
    )
    compensating_control = forms.CharField(
        label="Compensating control",
        max_length=2_000,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="What limits the risk meanwhile: a closed network, a narrower scope, an alert.",
        error_messages={"required": "Name what limits the risk meanwhile."},
    )
    until = forms.DateField(
        label="Until",
        widget=Day,
        error_messages={"required": "Choose the last day of the waiver."},
    )

    def __init__(self, *args: Any, begins: date, latest: date, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.begins, self.latest = begins, latest
        self.fields["until"].help_text = f"{latest:%-d %B %Y} or earlier."
        self.fields["until"].widget.attrs |= {"min": str(begins + timedelta(days=1)), "max": str(latest)}

    def clean_reason(self) -> str:
        return _long_enough(self.cleaned_data["reason"], "Say why the risk is acceptable until then.")

    def clean_compensating_control(self) -> str:
        return _long_enough(self.cleaned_data["compensating_control"], "Name what limits the risk meanwhile.")

    def clean_until(self) -> date:
        until: date = self.cleaned_data["until"]
        if until <= self.begins:
            after = f"{self.begins + timedelta(days=1):%-d %B}"
            raise forms.ValidationError(f"Too early: it would begin later. Choose {after} or a later day.")
        if until > self.latest:
            raise forms.ValidationError(f"Later than {self.latest:%-d %B}. Choose that day or earlier.")
        return until


def _long_enough(text: str, otherwise: str) -> str:
    text = text.strip()
    if len(text) < 10:
        raise forms.ValidationError(f"Too short for an auditor. {otherwise}")
    return text


class DecisionForm(forms.Form):
    """Why a request is approved or declined."""

    reason = forms.CharField(
        label="Reason",
        max_length=2_000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Kept with the decision under your name.",
        error_messages={"required": "Say why: the reason is kept with the decision."},
    )


class WithdrawalForm(forms.Form):
    reason = forms.CharField(label="Reason", max_length=500, required=False, widget=forms.TextInput)


class CommentForm(forms.Form):
    text = forms.CharField(
        label="Comment",
        max_length=LONGEST_COMMENT,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text="Whoever sees the finding reads it. It cannot be changed, and a secret in it is refused.",
        error_messages={"required": "Write something."},
    )


class AssignmentForm(forms.Form):
    """Who works on findings. Nobody named: nobody does any more."""

    assignee = OwnerNamed(label="Assignee", required=False, help_text="Name or e-mail. Empty: nobody any more.")
    reason = forms.CharField(label="Reason", max_length=500, required=False, widget=forms.TextInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["assignee"].widget.suggestions = suggested_owners()  # type: ignore[attr-defined]


class LinkForm(forms.Form):
    kind = forms.ChoiceField(label="Kind", choices=LinkKind, initial=LinkKind.TICKET)
    reference = forms.CharField(label="Reference", max_length=200, help_text="As people call it: SEC-4711.")
    url = forms.CharField(
        label="Address", max_length=500, required=False, help_text="https://… or the path of a page here."
    )
    label = forms.CharField(label="Words for it", max_length=200, required=False)


class CapForm(forms.Form):
    most_active = forms.IntegerField(label="Active waivers at most", min_value=0, max_value=MOST_ACTIVE)
    days = forms.IntegerField(
        label="Days that one finding may be waived",
        min_value=0,
        max_value=3_650,
        help_text="All of its waivers together, extensions counted.",
    )
    reason = forms.CharField(
        label="Reason", max_length=500, error_messages={"required": "Say why the cap changes; auditors ask."}
    )


# ── Operations ─────────────────────────────────────────────────────────────────────────────────
LONGEST_REASON = 1_000


class OperationReasonForm(forms.Form):
    reason = forms.CharField(
        label="Reason",
        max_length=LONGEST_REASON,
        widget=forms.TextInput,
        help_text="Kept with it in the audit log.",
        error_messages={"required": "Say why: whoever looks at this later wants to know."},
    )


class OptionalReasonForm(forms.Form):
    reason = forms.CharField(label="Reason", max_length=LONGEST_REASON, required=False, widget=forms.TextInput)


class RevocationForm(OperationReasonForm):
    is_urgent = forms.BooleanField(
        label="Urgent: skip every wait",
        required=False,
        help_text="It leaked, or somebody uses it who may not: suspended and destroyed at once.",
    )


class HandOverForm(AssignmentForm):
    pass


class ConsumerForm(forms.Form):
    consumer = forms.CharField(
        label="Consumer", max_length=300, help_text="The name of the client that uses the new version."
    )


class ExtensionForm(OperationReasonForm):
    days = forms.IntegerField(label="Days from now", min_value=1, max_value=90, initial=7)


class DeliveryForm(forms.Form):
    """Where the next new secret goes."""

    sink = forms.ChoiceField(
        label="Sink",
        choices=[
            ("aws_secrets", "AWS Secrets Manager"),
            ("file", "A file or an environment file"),
            ("mcp_config", "The configuration of an MCP client"),
            ("memory", "In memory (for trying)"),
        ],
    )
    location = forms.CharField(
        label="Where in it", max_length=2_000, help_text="A reference in the sink's own form, never a secret."
    )
    connection = forms.ModelChoiceField(
        label="Connection", queryset=Connection.objects.none(), required=False, empty_label="None",
        help_text="By whose rights it is written; files need none.",
    )  # fmt: skip
    quiet_days = forms.IntegerField(
        label="Quiet period in days", min_value=0, max_value=366, required=False, help_text="Empty: the usual 7."
    )
    reason = forms.CharField(label="Reason", max_length=LONGEST_REASON, required=False, widget=forms.TextInput)

    def __init__(self, *args: Any, connections: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["connection"].queryset = connections  # type: ignore[attr-defined]
