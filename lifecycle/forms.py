"""What people fill in to decide about findings."""

from datetime import date, timedelta
from typing import Any

from django import forms


class WaiverForm(forms.Form):
    """Reason and last day. `longest` is the most that the severity of the chosen findings allows."""

    reason = forms.CharField(
        label="Reason",
        max_length=2_000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Auditors read this. Say what limits the risk meanwhile.",
    )
    until = forms.DateField(label="Until", widget=forms.DateInput(attrs={"type": "date"}))

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
