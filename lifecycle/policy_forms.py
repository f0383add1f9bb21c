"""What reviewers fill in to say what is asked of credentials, and how a rule counts.

A form gives the values of a policy as its columns hold them; what cannot be asked, the action refuses field by field.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import CharField, F, Func
from django.forms.utils import flatatt
from django.http import QueryDict
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from inventory.forms import OwnerNamed, suggested_owners
from inventory.models import Credential, Environment, Owner
from inventory.states import CredentialKind, Logged, ServerRole, Severity, TrustModel
from lifecycle.models import Policy, RuleSetting
from lifecycle.models.policies import ASKED
from lifecycle.rules import RULES, Rule, Subject
from lifecycle.rules.asked import OFF
from lifecycle.states import Automation

MOST_CHOSEN = 50  # values of one selector
MOST_ENVIRONMENTS = 300
SUGGESTED = 100
SAMPLED = 20_000  # newest credentials among which values are looked for, to be suggested
MOST_LOOKED_AT = 1_000
LONGEST = timedelta(days=3_650)
UNITS = {"days": 86_400, "hours": 3_600, "minutes": 60}
GRADES = [(severity.name.lower(), str(severity.label)) for severity in sorted(Severity, reverse=True) if severity]
AS_DECLARED = ""
WINDOWS = {"30": "30 days", "90": "90 days", "365": "365 days"}


# ── A length of time as a number and its unit ─────────────────────────────────────────────────
class LengthWidget(forms.MultiWidget):
    """`90` and `days`. Nothing is lost: 2½ days are 60 hours."""

    def __init__(self, label: str) -> None:
        number = forms.NumberInput(attrs={"min": 1, "max": 5_256_000, "step": 1, "aria-label": f"{label}: how many"})
        unit = forms.Select(choices=[(name, name) for name in UNITS], attrs={"aria-label": f"{label}: unit"})
        super().__init__([number, unit], attrs={"class": "length"})

    def decompress(self, value: Any) -> list[Any]:
        if not isinstance(value, timedelta):
            return [None, "days"]
        seconds = int(value.total_seconds())
        unit = next((name for name, size in UNITS.items() if seconds % size == 0 and seconds >= 2 * size), "minutes")
        return [seconds // UNITS[unit], unit]

    def render(self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None) -> SafeString:
        return format_html('<span class="length">{}</span>', super().render(name, value, attrs, renderer))


class LengthField(forms.MultiValueField):
    def __init__(self, *, label: str, **options: Any) -> None:
        whole = {"invalid": "Give a whole number.", "min_value": "Give 1 or more; empty asks nothing."}
        fields = (
            forms.IntegerField(min_value=1, max_value=5_256_000, required=False, error_messages=whole),
            forms.ChoiceField(choices=[(name, name) for name in UNITS], required=False),
        )
        super().__init__(fields, widget=LengthWidget(label), label=label, required=False, **options)

    def compress(self, given: Sequence[Any]) -> timedelta | None:
        if not given or not given[0]:
            return None
        found = timedelta(seconds=given[0] * UNITS[given[1] or "days"])
        if found > LONGEST:
            raise ValidationError("Longer than ten years asks nothing. Leave it empty instead.")
        return found


# ── Values that are added one by one ──────────────────────────────────────────────────────────
class ChosenWidget(forms.Widget):
    """What is chosen, each with a box that takes it out again, and a field that adds more. Works without script."""

    use_fieldset = True
    suggestions: Sequence[str] = ()

    def __init__(self, adding: str, *, separators: str = ",") -> None:
        super().__init__()
        self.adding, self.separators = adding, separators

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[str]:
        kept = data.getlist(name) if isinstance(data, QueryDict) else list(data.get(name, []))
        typed = str(data.get(f"{name}_add", ""))
        for separator in self.separators:
            typed = typed.replace(separator, "\n")
        more = [text.strip() for text in typed.splitlines() if text.strip()]
        return list(dict.fromkeys([*(str(each) for each in kept), *more]))

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return False  # a box that is not checked sends nothing

    def render(self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None) -> SafeString:
        chosen, left = value if isinstance(value, tuple) else ([], "")
        key = (attrs or {}).get("id", f"id_{name}")
        boxes = format_html_join(
            "",
            '<label class="choice"><input type="checkbox" name="{}" value="{}" checked><span class="break">{}</span>'
            "</label>",
            ((name, raw, label) for raw, label in chosen),
        )
        options = format_html_join("", '<option value="{}"></option>', ((each,) for each in self.suggestions))
        more = flatatt({name: at for name, at in (attrs or {}).items() if name.startswith("aria-")})
        return format_html(
            '{}<input type="text" id="{}" name="{}_add" value="{}" aria-label="{}" list="{}_offered"'
            ' maxlength="2000" autocomplete="off" autocapitalize="none" spellcheck="false" placeholder="{}"{}>'
            '<datalist id="{}_offered">{}</datalist>',
            boxes,
            key,
            name,
            left,
            self.adding,
            key,
            self.adding,
            more,
            key,
            options,
        )


class ChosenField(forms.Field):
    """Some texts, each at most so long."""

    widget: Any

    def __init__(self, *, adding: str, longest: int, separators: str = ",", **options: Any) -> None:
        super().__init__(required=False, widget=ChosenWidget(adding, separators=separators), **options)
        self.longest = longest

    def prepare_value(self, value: Any) -> tuple[list[tuple[str, str]], str]:
        texts = [str(each) for each in value or []]
        fitting = [text for text in texts if len(text) <= self.longest]
        return [(text, text) for text in fitting], ", ".join(text for text in texts if text not in fitting)

    def clean(self, value: Any) -> list[Any]:
        texts = [text for text in value or [] if text]
        if len(texts) > MOST_CHOSEN:
            raise ValidationError(f"That is more than {MOST_CHOSEN}.")
        if any(len(text) > self.longest or "\x00" in text for text in texts):
            raise ValidationError(f"One of them is longer than {self.longest} characters.")
        return texts


class OwnersField(ChosenField):
    """Owners by name or e-mail address; kept by key, so that a change of name changes no policy."""

    def __init__(self, **options: Any) -> None:
        super().__init__(adding="Add an owner by name or e-mail", longest=400, separators=";", **options)
        self._named = OwnerNamed(required=False)

    def prepare_value(self, value: Any) -> tuple[list[tuple[str, str]], str]:
        texts = [str(each) for each in value or []]
        found, left = self._found(texts)
        return [(str(owner.pk), owner.name) for owner in found], "; ".join(left)

    def clean(self, value: Any) -> list[UUID]:
        texts = super().clean(value)
        found, left = self._found(texts)
        if left:
            raise ValidationError(f"Nobody, or more than one, is called “{left[0]}”. Give the e-mail address.")
        return [owner.pk for owner in found]

    def _found(self, texts: Sequence[str]) -> tuple[list[Owner], list[str]]:
        by_key = {str(pk): owner for pk, owner in Owner.objects.in_bulk(_keys(texts)).items()}
        found: list[Owner] = []
        left: list[str] = []
        for text in texts[: MOST_CHOSEN + 1]:
            owner = by_key.get(text)
            if owner is None:
                try:
                    owner = self._named.clean(text[:400])
                except ValidationError:
                    left.append(text)
            if owner is not None and owner not in found:
                found.append(owner)
        return found, left


def _keys(texts: Iterable[str]) -> list[UUID]:
    keys = []
    for text in texts:
        try:
            keys.append(UUID(text))
        except ValueError:
            continue  # a name
    return keys


def _known(column: str) -> list[str]:
    """Values that the newest credentials have in a column: all there are in a small estate, some of a large one's."""
    newest = Credential.objects.filter(pk__in=Credential.objects.order_by("-pk").values("pk")[:SAMPLED])
    each: Any = Func(F(column), function="unnest", output_field=CharField()) if column == "tags" else F(column)
    found = newest.order_by().annotate(each=each).values_list("each", flat=True).distinct()[:MOST_LOOKED_AT]
    return sorted(value for value in found if value)[:SUGGESTED]


# ── The policy ────────────────────────────────────────────────────────────────────────────────
def _many(choices: Iterable[tuple[str, Any]], **options: Any) -> forms.MultipleChoiceField:
    return forms.MultipleChoiceField(
        choices=list(choices), required=False, widget=forms.CheckboxSelectMultiple, **options
    )


class PolicyForm(forms.Form):
    """One draft of a policy. `values` are what the actions take; what those refuse goes to the fields it is about."""

    GROUPS: ClassVar[Sequence[tuple[str, str, Sequence[str]]]] = (
        ("name", "What it is", ("name", "description", "priority")),
        (
            "fits",
            "Whom it binds",
            ("kinds", "trust_models", "environments", "server_roles", "providers", "owners", "tags"),
        ),
        ("limits", "Limits", ("max_age", "max_idle", "max_lifetime", "overlap", "review_interval")),
        ("requires", "What it requires", ("requires_owner", "requires_expiry", "requires_reference", "allowed_scopes")),
        ("logs", "What servers must log", ("logging",)),
        ("automation", "What happens by itself", ("automation",)),
    )
    NOTES: ClassVar[Mapping[str, str]] = {
        "fits": "What is left empty fits everything. Within one selector any of its values will do; all that are not "
        "empty must fit.",
        "limits": "What is left empty is not asked.",
        "logs": "Of every server that takes such a credential. What a server logs is recorded on its page.",
    }

    name = forms.CharField(max_length=100, error_messages={"required": "Give the policy a name."})
    description = forms.CharField(
        label="Where its limits come from",
        required=False,
        max_length=2_000,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="A standard, a contract, your own rule. Auditors read this.",
    )
    priority = forms.IntegerField(
        min_value=1,
        max_value=1_000_000,
        initial=100,
        help_text="Of the policies that fit a credential the lowest number binds, and it alone. The shipped ones "
        "have 1 005 and more.",
    )
    kinds = _many(CredentialKind.choices, label="Kinds")
    trust_models = _many(TrustModel.choices, label="Trust models")
    environments = _many([], label="Environments", help_text="The credential's own.")
    server_roles = _many(ServerRole.choices, label="Server roles", help_text="Of a server that it is used on.")
    providers = ChosenField(
        label="Providers", adding="Add a provider", longest=100, help_text="As lists call the issuer."
    )
    owners = OwnersField(label="Owners")
    tags = ChosenField(label="Tags", adding="Add a tag", longest=60)
    max_age = LengthField(label="Maximum age", help_text="Then it must be rotated.")
    max_idle = LengthField(label="Maximum time without use", help_text="Then it is stale.")
    max_lifetime = LengthField(label="Maximum lifetime", help_text="From its issue to its expiry.")
    overlap = LengthField(label="Overlap", help_text="How long the old and the new version both work in a rotation.")
    review_interval = LengthField(label="Review every", help_text="Somebody confirms that it is needed.")
    requires_owner = forms.BooleanField(label="An owner", required=False)
    requires_expiry = forms.BooleanField(label="An expiry", required=False)
    requires_reference = forms.BooleanField(
        label="Kept by reference only", required=False, help_text="Never as a literal in a file."
    )
    allowed_scopes = ChosenField(
        label="Allowed scopes",
        adding="Add a scope",
        longest=200,
        separators=", ",
        help_text="No others, once there is one. repo:* allows what begins so.",
    )
    logging = _many(Logged.choices, label="Logged")
    automation = forms.ChoiceField(
        label="When rotation falls due", choices=Automation.choices, initial=Automation.OFF, widget=forms.RadioSelect
    )
    reason = forms.CharField(
        label="Reason",
        max_length=1_000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Kept with this version and in the audit chain, with your name.",
    )

    def __init__(self, data: QueryDict | None = None, *, policy: Policy | None = None) -> None:
        self.policy = policy
        super().__init__(data, initial=_initial(policy) if policy else None)
        places = Environment.objects.order_by("-criticality", "name").values_list("pk", "name")[:MOST_ENVIRONMENTS]
        self._choose("environments", [(str(pk), name) for pk, name in places])
        for name, values in (("providers", _known("issuer")), ("tags", _known("tags")), ("owners", suggested_owners())):
            self.fields[name].widget.suggestions = values  # type: ignore[attr-defined]
        wanted = policy.overrides if policy else {}
        for rule in overridable():
            self.fields[override_of(rule)] = forms.ChoiceField(
                label=rule.name,
                required=False,
                choices=[(AS_DECLARED, "As everywhere"), (OFF, "Off"), *GRADES],
                initial=wanted.get(rule.slug, AS_DECLARED),
            )

    def _choose(self, name: str, choices: list[tuple[str, str]]) -> None:
        """A value that is chosen and no longer offered stays, so that saving something else does not drop it."""
        offered = {value for value, _ in choices}
        chosen = [str(each) for each in (self.initial.get(name) or [])]
        gone = [(value, "One that is gone") for value in chosen if value not in offered]
        self.fields[name].choices = [*choices, *gone]  # type: ignore[attr-defined]

    @property
    def grouped(self) -> list[tuple[str, str, str, list[forms.BoundField]]]:
        return [
            (key, title, self.NOTES.get(key, ""), [self[name] for name in names]) for key, title, names in self.GROUPS
        ]

    @property
    def override_fields(self) -> list[tuple[Rule, forms.BoundField]]:
        return [(rule, self[override_of(rule)]) for rule in overridable()]

    @property
    def overridden(self) -> int:
        """How many rules stand otherwise in the form as it is."""
        return sum(1 for _, bound in self.override_fields if bound.value())

    @property
    def values(self) -> dict[str, Any]:
        """What was typed, as the columns of a policy hold it. Only after the form was found valid."""
        given = self.cleaned_data
        overrides = {rule.slug: given[override_of(rule)] for rule in overridable() if given.get(override_of(rule))}
        kept = self.policy.overrides if self.policy else {}
        # Of a rule that this release does not offer here: whatever stood there stays.
        others = {slug: wanted for slug, wanted in kept.items() if slug not in {rule.slug for rule in overridable()}}
        values = {name: given[name] for name in ASKED if name != "overrides"}
        values["environments"] = [UUID(each) for each in given["environments"]]
        return {**values, "overrides": {**others, **overrides}}

    def refuse(self, problems: Mapping[str, str]) -> None:
        """Put what an action refused to the fields that it is about; the rest above the form."""
        for name, sentence in problems.items():
            self.add_error(name if name in self.fields else None, sentence)


def _initial(policy: Policy) -> dict[str, Any]:
    known = {name: getattr(policy, name) for name in ASKED if name != "overrides"}
    return {**known, "environments": [str(each) for each in policy.environments]}


def overridable() -> list[Rule]:
    """The rules that a policy can want otherwise: a policy binds credentials."""
    return sorted((rule for rule in RULES.values() if rule.subject is Subject.CREDENTIAL), key=lambda rule: rule.name)


def override_of(rule: Rule) -> str:
    return f"rule_{rule.slug.replace('-', '_')}"


class WindowForm(forms.Form):
    """How far a back-test looks back."""

    window = forms.ChoiceField(
        label="Test against the last", choices=list(WINDOWS.items()), required=False, initial="90"
    )

    def clean_window(self) -> timedelta:
        return timedelta(days=int(self.cleaned_data["window"] or "90"))


class RetirementForm(forms.Form):
    reason = forms.CharField(
        max_length=1_000,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Kept with its last version and in the audit chain, with your name.",
        error_messages={"required": "Say why nobody is to be bound by it any more."},
    )


class RuleSettingForm(forms.Form):
    """How the whole estate wants one rule."""

    wanted = forms.ChoiceField(label="This rule", widget=forms.RadioSelect)
    reason = forms.CharField(
        max_length=1_000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Kept with the rule and in the audit chain, with your name.",
    )

    def __init__(self, data: QueryDict | None = None, *, rule: Rule, setting: RuleSetting | None) -> None:
        super().__init__(data, initial={"wanted": wanted_by(setting)})
        declared = f"Is on, as declared: {str(rule.severity.label).lower()}"
        graded = [
            (name, f"Is on, and graded {label.lower()}")
            for name, label in GRADES
            if rule.graded or name != rule.severity.name.lower()
        ]
        self.fields["wanted"].choices = [  # type: ignore[attr-defined]
            ("declared", f"{declared}, or by what it found" if rule.graded else declared),
            *graded,
            (OFF, "Is off: nothing is found, and its open findings are resolved as switched off"),
        ]

    @property
    def is_declared(self) -> bool:
        return bool(self.cleaned_data["wanted"] == "declared")

    @property
    def is_on(self) -> bool:
        return bool(self.cleaned_data["wanted"] != OFF)

    @property
    def severity(self) -> Severity | None:
        wanted = self.cleaned_data["wanted"]
        return Severity[wanted.upper()] if wanted not in {OFF, "declared"} else None


def wanted_by(setting: RuleSetting | None) -> str:
    if setting is None or (setting.is_on and setting.severity is None):
        return "declared"
    return Severity(setting.severity).name.lower() if setting.is_on and setting.severity else OFF
