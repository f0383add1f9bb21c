"""How the checks of one subject are shown: what is violated first, the worst of it on top."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from inventory.models import PostureCheck
from inventory.posture.model import Check
from inventory.states import Severity, Verdict
from web.pictures import Part

ORDER = (Verdict.VIOLATED, Verdict.UNKNOWN, Verdict.MET, Verdict.NOT_APPLICABLE)
TONES = {Verdict.VIOLATED: "crit", Verdict.UNKNOWN: "none", Verdict.MET: "ok", Verdict.NOT_APPLICABLE: "faint"}


@dataclass(frozen=True, slots=True)
class Line:
    """One check with what it said; `check` is None for one that this version no longer declares."""

    row: PostureCheck
    check: Check | None

    @property
    def title(self) -> str:
        return self.check.title if self.check else self.row.check_id

    @property
    def said(self) -> str:
        return str(self.row.evidence.get("said", ""))

    @property
    def is_violated(self) -> bool:
        return self.row.verdict == Verdict.VIOLATED

    @property
    def is_only_told(self) -> bool:
        """Violated and worth knowing, but nothing that anybody has to do."""
        return self.is_violated and not self.row.severity

    @property
    def remediation(self) -> str:
        return self.check.remediation if self.check and self.is_violated else ""


@dataclass(frozen=True, slots=True)
class Checklist:
    lines: Sequence[Line]

    @property
    def counts(self) -> list[tuple[Verdict, int]]:
        found = Counter(line.row.verdict for line in self.lines)
        return [(verdict, found[verdict]) for verdict in ORDER if found[verdict]]

    @property
    def asking(self) -> list[Line]:
        """What asks for a reader: violated, or not known."""
        return [line for line in self.lines if line.row.verdict not in (Verdict.MET, Verdict.NOT_APPLICABLE)]

    @property
    def met(self) -> list[Line]:
        return [line for line in self.lines if line.row.verdict == Verdict.MET]

    @property
    def inapplicable(self) -> list[Line]:
        return [line for line in self.lines if line.row.verdict == Verdict.NOT_APPLICABLE]

    @property
    def parts(self) -> list[Part]:
        return [Part(TONES[verdict], count, str(verdict.label)) for verdict, count in self.counts]

    @property
    def in_words(self) -> str:
        return ", ".join(f"{count} {str(verdict.label).lower()}" for verdict, count in self.counts)

    @property
    def violated(self) -> int:
        return sum(line.is_violated for line in self.lines)

    @property
    def worst(self) -> Severity:
        return Severity(max((line.row.severity for line in self.lines if line.is_violated), default=Severity.NONE))


def checklist(rows: Iterable[PostureCheck], checks: Iterable[Check]) -> Checklist:
    declared = {check.id: check for check in checks}
    lines = [Line(row, declared.get(row.check_id)) for row in rows]
    return Checklist(sorted(lines, key=_place))


def _place(line: Line) -> tuple[int, int, str]:
    return ORDER.index(Verdict(line.row.verdict)), -line.row.severity, line.row.check_id
