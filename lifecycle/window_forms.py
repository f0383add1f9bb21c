"""What people fill in to say when and how much may be rotated by itself."""

from datetime import timedelta
from typing import Any
from zoneinfo import available_timezones

from django import forms

from inventory.forms import Suggesting
from inventory.models import Environment

WEEKDAYS = [
    ("1", "Monday"), ("2", "Tuesday"), ("3", "Wednesday"), ("4", "Thursday"), ("5", "Friday"), ("6", "Saturday"),
    ("7", "Sunday"),
]  # fmt: skip
MOMENT = forms.DateTimeInput(attrs={"type": "datetime-local"})


class OfEnvironment(forms.Form):
    environment = forms.ModelChoiceField(
        Environment.objects.order_by("name"), required=False, empty_label="Every environment", label="Environment"
    )


class FreezeForm(OfEnvironment):
    ends_at = forms.DateTimeField(
        label="Until (UTC)", required=False, widget=MOMENT, help_text="Empty: until somebody lifts it."
    )
    reason = forms.CharField(
        label="Reason",
        max_length=1_000,
        widget=forms.Textarea(attrs={"rows": 2}),
        error_messages={"required": "Say why nothing may change."},
    )


class WhyForm(forms.Form):
    reason = forms.CharField(
        label="Reason",
        max_length=1_000,
        widget=forms.Textarea(attrs={"rows": 2}),
        error_messages={"required": "Say why: whoever looks at this later wants to know the reason."},
    )


class NothingMoreForm(forms.Form):
    """A question that needs no more than the button."""


class WindowForm(OfEnvironment):
    weekdays = forms.MultipleChoiceField(
        choices=WEEKDAYS, required=False, widget=forms.CheckboxSelectMultiple, help_text="None: every day."
    )
    begins = forms.TimeField(label="Begins", widget=forms.TimeInput(attrs={"type": "time"}))
    minutes = forms.IntegerField(label="Minutes", min_value=1, max_value=7 * 24 * 60)
    timezone = forms.CharField(
        label="Time zone", max_length=60, initial="UTC", help_text="As in Europe/Berlin; it keeps to the clocks there."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["timezone"].widget = Suggesting(suggestions=sorted(available_timezones()))

    @property
    def length(self) -> timedelta:
        return timedelta(minutes=self.cleaned_data["minutes"])


class LimitsForm(forms.Form):
    begun_a_day = forms.IntegerField(label="Begun in 24 hours", min_value=0, max_value=100_000)
    open_at_once = forms.IntegerField(label="Open at once", min_value=0, max_value=100_000)
    halted_after = forms.IntegerField(
        label="Halts after so many stalled", min_value=1, max_value=100_000, help_text="Of one connection or batch."
    )
    second_person_from = forms.IntegerField(
        label="A second person approves from",
        min_value=1,
        max_value=100_000,
        required=False,
        help_text="Credentials in a batch; empty: nobody need approve.",
    )
    second_person_in_production = forms.BooleanField(label="In production always a second person", required=False)
    reason = forms.CharField(label="Reason", max_length=1_000, error_messages={"required": "Say why."})
