"""The controls that Keyreeve gives evidence for: what each asks, how it is measured, what counts as enough. Pure.

A measure is a population in which each subject met, violated, or could not be seen. What is unknown is part of the
population, so it never helps a measure: met is one that reaches its threshold with the unknown counted against it,
violated one that would miss it even if all of the unknown turned out well, and of anything between nobody can tell.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from inventory.states import Severity, Verdict
from lifecycle.rules import RULES
from lifecycle.rules.controls import CSF, TITLES, framework_of
from lifecycle.rules.explained import EXPLAINED

WINDOW = timedelta(days=90)  # of what has happened: operations that ended, findings that were resolved
FRESH_FOR = timedelta(days=2)  # a full evaluation is made once a day
CURRENT_FOR = timedelta(days=365)  # of a policy

FUNCTIONS = {"GV": "Govern", "ID": "Identify", "PR": "Protect", "DE": "Detect", "RS": "Respond"}


@dataclass(frozen=True, slots=True)
class Tally:
    """How many subjects of a population were seen to meet what is asked, to violate it, or could not be seen."""

    met: int
    violated: int
    unknown: int
    waived: int = 0
    counted_at: datetime | None = None

    @property
    def population(self) -> int:
        return self.met + self.violated + self.unknown

    @property
    def share(self) -> float | None:
        """Of the whole population: what is unknown is not met. None where there is nobody to ask."""
        return self.met / self.population if self.population else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One way in which the estate answers a control. `rule` is the rule that it counts; else it has rows of its own."""

    slug: str
    name: str
    population: str  # in words
    violated: str
    unknown: str
    threshold: float
    subject: str  # what a row is, in the singular
    rule: str = ""
    path: str = ""  # the list on which the exceptions stand

    @property
    def formula(self) -> str:
        return "met ÷ (met + violated + unknown)"

    def verdict(self, tally: Tally | None, *, now: datetime | None = None) -> Verdict:
        """What a count says. `now`: as it is to be believed then; what was counted too long ago says nothing."""
        if tally is None:
            return Verdict.UNKNOWN
        if now is not None and (tally.counted_at is None or now - tally.counted_at > FRESH_FOR):
            return Verdict.UNKNOWN
        if not tally.population:
            return Verdict.NOT_APPLICABLE
        if tally.met >= self.threshold * tally.population:
            return Verdict.MET
        if tally.met + tally.unknown < self.threshold * tally.population:
            return Verdict.VIOLATED
        return Verdict.UNKNOWN


# What of its population each rule must be met by. Where nothing stands here its severity says so: nobody may leave a
# critical hole open, and of small ones some are always on their way out.
THRESHOLDS: Mapping[str, float] = {
    "no-owner": 0.98,
    "owner-inactive": 0.99,
    "unrotated": 0.95,
    "no-expiry": 0.95,
    "stale": 0.98,
    "hard-coded": 0.98,
    "kept-as-literal": 0.98,
    "reused-across-clients": 0.95,
    "reused-across-servers": 0.95,
    "valid-after-revocation": 1.0,
    "revocation-unverified": 1.0,
    "revocation-overdue": 1.0,
    "connection-not-synced": 1.0,
    "heartbeat-missed": 1.0,
}
BY_SEVERITY = {Severity.CRITICAL: 1.0, Severity.HIGH: 0.98, Severity.MEDIUM: 0.95, Severity.LOW: 0.9}


def _sentence(words: str) -> str:
    return f"{words.rstrip('.')}." if words else ""


def _of_rule(slug: str) -> Measure:
    rule, said = RULES[slug], EXPLAINED[slug]
    excepted = f", but: {said.not_applicable[:1].lower()}{said.not_applicable[1:]}" if said.not_applicable else ""
    return Measure(
        slug=slug,
        name=rule.name,
        population=f"Every {rule.subject.value} that is live{excepted}.",
        violated=_sentence(said.violated),
        unknown=_sentence(said.unknown) or "Never: whatever it is about can be seen.",
        threshold=THRESHOLDS.get(slug, BY_SEVERITY[rule.severity]),
        subject=rule.subject.value,
        rule=slug,
        path=f"/findings/?{urlencode({'unresolved': 'true', 'rule': slug})}",
    )


OWN = (
    Measure(
        slug="under-policy",
        name="Bound by a policy",
        population="Every credential that is live.",
        violated="No policy fits it, so nothing is asked of it.",
        unknown="No evaluation has looked at it yet.",
        threshold=0.98,
        subject="credential",
        path="/policies/",
    ),
    Measure(
        slug="rotations-verified",
        name="Rotations that ended well",
        population="Rotations that ended within 90 days, and those that have stalled.",
        violated="It has stalled.",
        unknown="It ended, and nobody could see the old secret refused.",
        threshold=0.98,
        subject="operation",
        path="/operations/?kind=rotation&state=stalled",
    ),
    Measure(
        slug="revocations-verified",
        name="Revocations seen to hold",
        population="Revocations that ended within 90 days, and those that have stalled.",
        violated="It has stalled.",
        unknown="It ended, and nobody could see the secret refused.",
        threshold=1.0,
        subject="operation",
        path="/operations/?kind=revocation&proof=unverifiable",
    ),
    Measure(
        slug="revoked-in-time",
        name="Refused in time",
        population="Revocations that were asked for within 90 days and had to be seen refused by now.",
        violated="Its secret was not seen refused within a day of asking, an urgent one within an hour.",
        unknown="It ended in that time, and nobody could see the secret refused.",
        threshold=0.95,
        subject="operation",
        path="/operations/?kind=revocation",
    ),
    Measure(
        slug="findings-in-time",
        name="Findings resolved in time",
        population="Findings that are open, and those that were resolved within 90 days.",
        violated="It was not resolved by its due date, and its risk is not accepted.",
        unknown="Never: a finding has a due date.",
        threshold=0.9,
        subject="finding",
        path="/findings/?overdue=true",
    ),
    Measure(
        slug="waivers-in-force",
        name="Waivers that still cover what was accepted",
        population="Every waiver that is active.",
        violated="Its end has passed, or its finding is more severe than the one that was accepted.",
        unknown="Never.",
        threshold=1.0,
        subject="waiver",
        path="/waivers/?outgrown=true",
    ),
    Measure(
        slug="owners-accepted",
        name="Accepted by their owners",
        population="Every credential, client and side of a server that is live.",
        violated="Nobody stands for it, or nobody in line accepted it.",
        unknown="Its owner is asked and has time to answer.",
        threshold=0.95,
        subject="tenure",
        path="/ownership/?state=open",
    ),
    Measure(
        slug="accepted-in-time",
        name="Not long without an accepted owner",
        population="What was accepted within 90 days, and what has stood without an accepted owner for over 30.",
        violated="It stood for over 30 days without an owner who had accepted it.",
        unknown="Never.",
        threshold=0.9,
        subject="tenure",
        path="/ownership/?state=quarantined",
    ),
    Measure(
        slug="policies-current",
        name="Policies looked at within a year",
        population="Every policy in force.",
        violated="Its newest version is older than a year.",
        unknown="Never: every version has a date.",
        threshold=1.0,
        subject="policy",
        path="/policies/",
    ),
    Measure(
        slug="reviews-in-time",
        name="Review items decided in time",
        population="Items of launched campaigns that were due within 90 days, but: it ended by itself.",
        violated="Nobody decided it by its date, or the clock did.",
        unknown="Never.",
        threshold=0.98,
        subject="review item",
    ),
    Measure(
        slug="decisions-carried-out",
        name="Decisions that were carried out",
        population="Items that were decided within 90 days to be anything but kept, and a week ago or more.",
        violated="It is not closed: what was decided was not seen to be so.",
        unknown="Never: an item closes only with how it is known.",
        threshold=1.0,
        subject="review item",
    ),
    Measure(
        slug="decisions-read",
        name="Decisions that somebody took time for",
        population="Decisions of people that were submitted within 90 days.",
        violated="It was taken within three seconds of the one before.",
        unknown="Nobody knows how long it took.",
        threshold=0.9,
        subject="decision",
    ),
    Measure(
        slug="approvals-stand",
        name="Approved as it is",
        population="Approvals that stand, and those that lapsed within 90 days, of what is there.",
        violated="What was approved changed over 30 days ago, and nobody has decided about it since.",
        unknown="It changed within 30 days, and is asked about anew.",
        threshold=0.98,
        subject="approval",
    ),
    Measure(
        slug="days-signed",
        name="Days whose audit entries were signed",
        population="Days within the last 90, before today, on which something was written to the audit chain.",
        violated="No head was signed on it or later.",
        unknown="Never.",
        threshold=1.0,
        subject="day",
        path="/audit/",
    ),
)
MEASURES: dict[str, Measure] = {**{slug: _of_rule(slug) for slug in RULES}, **{each.slug: each for each in OWN}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """An outcome of NIST CSF 2.0, in our words, with the measures that answer it."""

    id: str
    asks: str
    title: str
    sp800_53: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()  # subcategories of CSF 1.1 that went into it
    measures: tuple[Measure, ...] = ()
    gap: str = ""  # what of it nothing here measures

    @property
    def function(self) -> str:
        return self.id[:2]

    @property
    def owasp(self) -> tuple[str, ...]:
        """Entries of the OWASP lists that the rules which measure it name as well."""
        named = {each for measure in self.measures if measure.rule for each in RULES[measure.rule].controls}
        return tuple(sorted((each for each in named if framework_of(each) != CSF), key=_in_order))

    @property
    def owasp_titles(self) -> list[tuple[str, str]]:
        return [(each, TITLES.get(each, "")) for each in self.owasp]


def _in_order(identifier: str) -> tuple[str, int]:
    letters = identifier.rstrip("0123456789:").split(":")[0].rstrip("0123456789")
    digits = "".join(char for char in identifier.partition(":")[0] if char.isdigit())
    return letters, int(digits or 0)


def _control(
    control: str, asks: str, sp800_53: str = "", *, replaces: str = "", own: Sequence[str] = (), gap: str = ""
) -> Control:
    """With every rule that names it, the most severe first, after the measures of its own."""
    rules = sorted((rule for rule in RULES.values() if control in rule.controls), key=lambda rule: -rule.severity)
    slugs = dict.fromkeys([*own, *(rule.slug for rule in rules)])
    return Control(
        id=control,
        asks=asks,
        title=TITLES.get(control, asks),
        sp800_53=tuple(sp800_53.split()),
        replaces=tuple(replaces.split()),
        measures=tuple(MEASURES[slug] for slug in slugs),
        gap=gap,
    )


CONTROLS: dict[str, Control] = {
    control.id: control
    for control in (
        _control(
            "PR.AA-01",
            "Identities and credentials of people, services and hardware are managed: issued on request, tracked, "
            "rotated and revoked.",
            "AC-1 AC-2 AC-14 IA-1 IA-2 IA-3 IA-4 IA-5 IA-6 IA-7 IA-8 IA-9 IA-10 IA-11",
            replaces="PR.AC-1",
            own=("under-policy", "owners-accepted", "rotations-verified", "revocations-verified"),
            gap="Identities of people and of hardware: only what authenticates by itself is in this inventory.",
        ),
        _control(
            "PR.AA-02",
            "Identities are proofed and bound to credentials, one credential to one of them.",
            "IA-12",
            replaces="PR.AC-6",
            gap="How people were proofed before they enrolled.",
        ),
        _control(
            "PR.AA-03",
            "People, services and hardware are authenticated before they reach anything.",
            "AC-7 AC-12 IA-2 IA-3 IA-5 IA-7 IA-8 IA-9 IA-10 IA-11",
            replaces="PR.AC-3 PR.AC-7",
            gap="How people sign in elsewhere than here.",
        ),
        _control(
            "PR.AA-04",
            "Identity assertions are protected, conveyed and verified: tokens name their audience and are checked.",
            "IA-13",
            gap="Sign-on among systems that no MCP server takes part in.",
        ),
        _control(
            "PR.AA-05",
            "Permissions are set down, enforced and reviewed, with least privilege and separation of duties.",
            "AC-1 AC-2 AC-3 AC-5 AC-6 AC-10 AC-16 AC-17 AC-18 AC-19 AC-24 IA-13",
            replaces="PR.AC-1 PR.AC-3 PR.AC-4",
            own=("reviews-in-time", "decisions-carried-out", "decisions-read", "approvals-stand", "waivers-in-force"),
        ),
        _control(
            "PR.AA-06",
            "Physical access to assets is managed and monitored.",
            "PE-2 PE-3 PE-4 PE-5 PE-6 PE-8 PE-18 PE-19 PE-20",
            replaces="PR.AC-2",
            gap="All of it: nothing here sees doors, guards or racks.",
        ),
        _control(
            "GV.RR-02",
            "Roles and responsibilities are known: somebody answers for every credential, server and client.",
            replaces="ID.AM-6",
            own=("owners-accepted", "accepted-in-time"),
        ),
        _control(
            "GV.RR-04",
            "People's coming and going is covered: what a leaver answered for is handed over or revoked.",
            replaces="PR.IP-11",
            own=("owner-inactive", "subject-inactive", "revocation-overdue"),
        ),
        _control("GV.PO-02", "Policy is looked at, updated and kept current.", own=("policies-current",)),
        _control("GV.OV-03", "How well it goes is measured and looked at.", own=("days-signed",)),
        _control(
            "GV.SC-07",
            "Risks of suppliers and third parties are known and watched.",
            "RA-9 SA-4 SA-9 SR-3 SR-6",
        ),
        _control(
            "ID.AM-02", "Software, services and systems are inventoried.", "AC-20 CM-8 PM-5 SA-5 SA-9",
            replaces="ID.AM-2",
        ),
        _control("ID.AM-04", "Services of suppliers are inventoried.", "AC-20 SA-9 SR-2", replaces="ID.AM-4"),
        _control(
            "ID.AM-05", "Assets are prioritised by criticality and by what depends on them.", "RA-2 RA-3 RA-9",
            replaces="ID.AM-5",
        ),
        _control(
            "ID.AM-08",
            "Systems, services and their registrations are managed from beginning to end.",
            "CM-9 CM-13 MA-2 MA-6 PL-2 PM-22 PM-23 SA-3 SA-4 SA-8 SA-22 SI-12 SI-18 SR-5 SR-12",
        ),
        _control(
            "ID.RA-01",
            "Weaknesses of assets are found, recorded and resolved in time.",
            "CA-2 CA-7 CA-8 RA-3 RA-5 SI-4 SI-5",
            replaces="ID.RA-1",
            own=("findings-in-time",),
        ),
        _control(
            "ID.RA-07", "Changes and exceptions are managed, with an end.", "CA-7 CM-3 CM-4", own=("waivers-in-force",)
        ),
        _control("PR.DS-01", "Secrets at rest are protected.", "SC-12 SC-28", replaces="PR.DS-1"),
        _control("PR.DS-02", "Secrets on their way are protected.", "SC-8 SC-12", replaces="PR.DS-2"),
        _control("PR.DS-10", "Secrets in use are protected: none lies open in a configuration.", "AC-3 AC-4 SC-39"),
        _control("PR.IR-01", "Environments are kept apart.", replaces="PR.AC-3 PR.AC-5"),
        _control("PR.PS-01", "Configuration is managed, and drift is seen.", "CM-1 CM-2 CM-3 CM-6"),
        _control(
            "PR.PS-04",
            "What happens to tokens and keys is logged, and the log cannot be changed unseen.",
            "AU-2 AU-3 AU-6 AU-7 AU-11 AU-12",
            replaces="PR.PT-1",
            own=("days-signed",),
        ),
        _control("DE.CM-03", "What people do with identities that are not theirs is seen.", "AC-2 AU-12 CA-7"),
        _control(
            "DE.CM-09", "Software and services are watched, reuse and drift of credentials among them.",
            "AC-4 AU-12 CA-7 CM-3 SI-4 SI-7",
        ),
        _control(
            "RS.MI-01", "Incidents are contained: what leaked is cut off in time.", "IR-4", replaces="RS.MI-1",
            own=("revoked-in-time",),
        ),
        _control(
            "RS.MI-02", "Incidents are ended: what was revoked is seen to be refused.", "IR-4", replaces="RS.MI-2",
            own=("revocations-verified",),
        ),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """How the estate answers one measure of a control at one moment."""

    measure: Measure
    tally: Tally | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Standing:
    """A control with all its answers."""

    control: Control
    answers: Sequence[Answer]

    @property
    def applicable(self) -> list[Answer]:
        return [each for each in self.answers if each.verdict is not Verdict.NOT_APPLICABLE]

    @property
    def met(self) -> int:
        return sum(each.verdict is Verdict.MET for each in self.answers)

    @property
    def verdict(self) -> Verdict:
        """The worst of its measures. A control that nothing measures is unknown; that is not the same as fine."""
        said = {each.verdict for each in self.applicable}
        if Verdict.VIOLATED in said:
            return Verdict.VIOLATED
        if not self.answers or Verdict.UNKNOWN in said:
            return Verdict.UNKNOWN
        return Verdict.MET if said else Verdict.NOT_APPLICABLE

    @property
    def counted_at(self) -> datetime | None:
        """When the oldest of its counts was made."""
        return min(
            (each.tally.counted_at for each in self.answers if each.tally and each.tally.counted_at), default=None
        )

    @property
    def exceptions(self) -> int:
        return sum(each.tally.violated for each in self.answers if each.tally)

    @property
    def waived(self) -> int:
        return sum(each.tally.waived for each in self.answers if each.tally)


def standing(control: Control, tallies: Mapping[str, Tally], *, now: datetime | None = None) -> Standing:
    """How `control` stands by these counts, by the slug of their measure."""
    answers = [
        Answer(each, tallies.get(each.slug), each.verdict(tallies.get(each.slug), now=now)) for each in control.measures
    ]
    return Standing(control, answers)


def standings(tallies: Mapping[str, Tally], *, now: datetime | None = None) -> list[Standing]:
    return [standing(control, tallies, now=now) for control in CONTROLS.values()]


def measured_by(slug: str) -> list[Control]:
    return [control for control in CONTROLS.values() if any(each.slug == slug for each in control.measures)]


def crosswalk() -> dict[str, tuple[str, ...]]:
    """Subcategories of CSF 1.1, each with those of 2.0 that it went into."""
    found: dict[str, list[str]] = {}
    for control in CONTROLS.values():
        for old in control.replaces:
            found.setdefault(old, []).append(control.id)
    return {old: tuple(new) for old, new in sorted(found.items())}


def measured(controls: Iterable[Control] = CONTROLS.values()) -> list[Measure]:
    """The measures of these controls, each once."""
    return list({each.slug: each for control in controls for each in control.measures}.values())
