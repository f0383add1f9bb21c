"""What a server logs of the tokens and keys that it takes: what is asked, what somebody saw, and saying so."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from access.actors import Actor
from access.permissions import requires
from access.rights import Right
from inventory.actions.logged import record_logging
from inventory.errors import InventoryError, SecretInEvidence
from inventory.forms import LoggingForm
from inventory.models import LoggingRecord, McpServer
from inventory.states import Logged, TrustModel, Verdict
from inventory.views.questions import Question, ask, go, is_decided, way_back

# By trust model and happening, the names of the policies that ask for it.
Asked = Mapping[tuple[str, str], list[str]]


@dataclass(frozen=True)
class Cell:
    """One happening for credentials of one trust model."""

    trust_model: TrustModel
    happening: Logged
    policies: list[str]
    record: LoggingRecord | None

    @property
    def verdict(self) -> str:
        if self.record is not None:
            return (Verdict.MET if self.record.is_logged else Verdict.VIOLATED).value
        return (Verdict.UNKNOWN if self.policies else Verdict.NOT_APPLICABLE).value


@dataclass(frozen=True)
class LoggingPanel:
    trust_models: list[TrustModel]
    rows: list[tuple[Logged, list[Cell]]]
    policies: list[str] = field(default_factory=list)

    @property
    def is_asked(self) -> bool:
        return bool(self.policies)


def panel(server: McpServer, asked: Asked) -> LoggingPanel:
    """The matrix of a server: the two trust models, and that which nobody knows where it is asked or recorded."""
    records = {(each.trust_model, each.happening): each for each in LoggingRecord.objects.filter(server=server)}
    named = {trust_model for trust_model, _ in [*records, *asked]}
    models = [each for each in TrustModel if each is not TrustModel.UNKNOWN or each.value in named]
    rows = [
        (
            happening,
            [
                Cell(
                    model,
                    happening,
                    sorted(asked.get((model.value, happening.value), [])),
                    records.get((model.value, happening.value)),
                )
                for model in models
            ],
        )
        for happening in Logged
    ]
    return LoggingPanel(models, rows, sorted({name for names in asked.values() for name in names}))


def asked_by(policies: Iterable[tuple[str, str, Iterable[str]]]) -> dict[tuple[str, str], list[str]]:
    """From trust model, name and happenings of each policy that binds a credential of the server."""
    asked: dict[tuple[str, str], list[str]] = {}
    for trust_model, name, happenings in policies:
        for happening in happenings:
            asked.setdefault((trust_model, happening), []).append(name)
    return asked


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Right.RECORD_FACT)
def server_logging(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Say whether a server logs one happening, and where that can be seen."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    server = get_object_or_404(McpServer.objects.visible_to(actor), pk=pk)
    back = way_back(request, f"{reverse('server_detail', args=[pk])}#logging")
    given = request.POST if request.method == "POST" else request.GET
    try:
        trust_model, happening = TrustModel(given.get("trust_model", "")), Logged(given.get("happening", ""))
    except ValueError as exc:
        raise Http404 from exc
    known = LoggingRecord.objects.filter(server=server, trust_model=trust_model, happening=happening).first()
    initial = {"is_logged": "yes" if known.is_logged else "no", "evidence": known.evidence} if known else {}
    form = LoggingForm(request.POST if is_decided(request) else None, initial=initial)
    if is_decided(request) and form.is_valid():
        said = form.cleaned_data
        try:
            changed = record_logging(
                server,
                trust_model=trust_model,
                happening=happening,
                is_logged=said["is_logged"],
                evidence=said["evidence"],
                actor=actor,
                now=timezone.now(),
            )
        except InventoryError as exc:
            if isinstance(exc, SecretInEvidence):  # no page is to show it again
                form = LoggingForm({**request.POST.dict(), "evidence": ""})
                form.is_valid()
            form.add_error("evidence", str(exc))
        else:
            words = "Recorded; the next evaluation uses it." if changed else "Nothing changed: that was known already."
            messages.success(request, words)
            return go(request, back)
    facts = [("Server", server.name), ("Credentials", trust_model.label)]
    if known:
        facts.append(("So far", f"{known.recorded_by} on {known.recorded_at:%Y-%m-%d}: {_said(known)}"))
    question = Question(
        title=f"Is {happening.label.lower()} logged?",
        text="Say what you have seen in its logs or in those of its authorization server, not what should be there.",
        facts=facts,
        form=form,
        submit="Record",
        back=back,
        hidden=[("trust_model", trust_model.value), ("happening", happening.value)],
    )
    return ask(request, question)


def _said(known: LoggingRecord) -> str:
    return "logged" if known.is_logged else "not logged"
