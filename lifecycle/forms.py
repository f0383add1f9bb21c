"""What people fill in to decide about findings."""

from datetime import date, timedelta
from typing import Any

from django import forms


class DatesForm(forms.Form):
    """What somebody knows about a credential where no provider can be asked. An empty date leaves what is known."""

    issued_on = forms.DateField(label="Issued", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    last_used_on = forms.DateField(label="Last used", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    expires_on = forms.DateField(label="Expires", required=False, widget=forms.DateInput(attrs={"type": "date"}))
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
    """Reason and last day. `longest` is the most that the severity of the chosen findings allows."""

    reason = forms.CharField(
        label="Reason",
        max_length=2_000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Auditors read this. Say what limits the risk meanwhile.",
        error_messages={"required": "Say why the risk is acceptable until then."},
    )
    until = forms.DateField(
        label="Until",
        widget=forms.DateInput(attrs={"type": "date"}),
        error_messages={"required": "Choose the last day of the waiver."},
    )

    def __init__(self, *args: Any, today: date, longest: timedelta, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.today, self.latest = today, today + longest
        self.fields["until"].help_text = f"At most {longest.days} days: {self.latest:%-d %B} or earlier."
        self.fields["until"].widget.attrs |= {"min": str(today + timedelta(days=1)), "max": str(self.latest)}

    def clean_reason(self) -> str:
        reason: str = self.cleaned_data["reason"].strip()
        if len(reason) < 10:
            raise forms.ValidationError("Too short for an auditor. Say why the risk is acceptable until then.")
        return reason

    def clean_until(self) -> date:
        until: date = self.cleaned_data["until"]
        if until <= self.today:
            raise forms.ValidationError("That day is over. Choose tomorrow or later.")
        if until > self.latest:
            raise forms.ValidationError(f"Later than {self.latest:%-d %B}. Choose that day or earlier.")
        return until
