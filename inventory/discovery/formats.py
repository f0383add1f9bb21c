"""Credential formats that announce themselves, as data, and how to find them in a text quickly.

One scan with one expression finds every place where a known beginning stands; only the few rows that begin so are
then tried there. A text without any known beginning costs that one scan.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, NamedTuple

from inventory.discovery.model import Confidence, Kind

API_KEY = Kind.API_KEY
PAT = Kind.PERSONAL_ACCESS_TOKEN
ACCESS = Kind.OAUTH_ACCESS_TOKEN
REFRESH = Kind.OAUTH_REFRESH_TOKEN
CLIENT_SECRET = Kind.OAUTH_CLIENT_SECRET
AWS_KEY = Kind.AWS_ACCESS_KEY
OTHER = Kind.OTHER

HIGH, MEDIUM, LOW = Confidence.HIGH, Confidence.MEDIUM, Confidence.LOW

_END = r"(?![A-Za-z0-9_-])"


@dataclass(frozen=True, slots=True)
class Format:
    """How one issuer writes one sort of credential."""

    issuer: str
    kind: Kind
    prefixes: tuple[str, ...]
    """Every value starts with one of these; empty where only `needle` gives it away."""
    pattern: re.Pattern[str]
    confidence: Confidence
    needle: str = ""
    is_identifier: bool = False
    """The public half of a pair: worth knowing, not a secret."""
    keywords: tuple[str, ...] = ()
    """Too short a form to be believed unless one of these words is in the field's name or the text."""


class Match(NamedTuple):
    """A known format at a place in a text. `prefix` is the format's public beginning, safe to show."""

    format: Format
    start: int
    end: int
    prefix: str


def _row(
    issuer: str,
    kind: Kind,
    prefixes: str,
    pattern: str,
    confidence: Confidence = HIGH,
    *,
    needle: str = "",
    is_identifier: bool = False,
    keywords: str = "",
) -> Format:
    return Format(
        issuer,
        kind,
        tuple(prefixes.split()),
        re.compile(pattern),
        confidence,
        needle,
        is_identifier,
        tuple(keywords.split()),
    )


# Rows that share a beginning stand from the most to the least specific; the first that fits wins.
FORMATS: tuple[Format, ...] = (
    _row("GitHub", PAT, "ghp_", r"ghp_[A-Za-z0-9]{36}\b"),
    _row("GitHub", ACCESS, "gho_", r"gho_[A-Za-z0-9]{36}\b"),
    _row("GitHub", ACCESS, "ghu_", r"ghu_[A-Za-z0-9]{36}\b"),
    _row("GitHub", OTHER, "ghs_", r"ghs_[A-Za-z0-9._-]{36,}"),
    _row("GitHub", REFRESH, "ghr_", r"ghr_[A-Za-z0-9]{36,76}\b"),
    _row("GitHub", PAT, "github_pat_", r"github_pat_[A-Za-z0-9_]{82}\b"),
    _row("GitLab", PAT, "glpat-", r"glpat-[A-Za-z0-9_-]{27,300}\.[0-9a-z]{2}(?:\.?[0-9a-z]{7,9})\b"),
    _row("GitLab", PAT, "glpat-", r"glpat-[A-Za-z0-9_-]{20}" + _END),
    _row("GitLab", CLIENT_SECRET, "gloas-", r"gloas-[A-Za-z0-9_.-]{20,}"),
    _row(
        "GitLab",
        OTHER,
        "gldt- glrt- glcbt- glptt- glft- glimt- glagent- glsoat- glffct-",
        r"gl(?:dt|rt|cbt|ptt|ft|imt|agent|soat|ffct)-[A-Za-z0-9_.-]{20,}",
    ),
    _row("GitLab", OTHER, "GR1348941", r"GR1348941[A-Za-z0-9_-]{20}"),
    _row("AWS", AWS_KEY, "AKIA ABIA ACCA", r"(?:AKIA|ABIA|ACCA)[A-Z2-7]{16}\b", is_identifier=True),
    _row("AWS", AWS_KEY, "A3T", r"A3T[A-Z0-9][A-Z2-7]{16}\b", is_identifier=True),
    _row("AWS", AWS_KEY, "ASIA", r"ASIA[A-Z2-7]{16}\b", is_identifier=True),
    _row("AWS Bedrock", API_KEY, "ABSK", r"ABSK[A-Za-z0-9+/]{109,269}={0,2}"),
    _row("AWS Bedrock", API_KEY, "bedrock-api-key-", r"bedrock-api-key-YmVkcm9jay5hbWF6b25hd3MuY29t[A-Za-z0-9+/=_-]*"),
    _row("Google", API_KEY, "AIza", r"AIza[A-Za-z0-9_-]{35}" + _END),
    _row("Google", API_KEY, "AQ.Ab8RN6", r"AQ\.Ab8RN6[A-Za-z0-9_-]{44}" + _END),
    _row("Google", CLIENT_SECRET, "GOCSPX-", r"GOCSPX-[A-Za-z0-9_-]{28}" + _END),
    _row("Google", ACCESS, "ya29.", r"ya29\.[A-Za-z0-9_-]{20,}"),
    _row("Google", REFRESH, "1//0", r"1//0[A-Za-z0-9_-]{60,}", MEDIUM),
    _row(
        "Microsoft Entra",
        CLIENT_SECRET,
        "",
        r"(?<![A-Za-z0-9_~.-])[A-Za-z0-9_~.]{3}\dQ~[A-Za-z0-9_~.-]{31,34}(?![A-Za-z0-9_~.-])",
        needle="Q~",
    ),
    _row("Azure Storage", API_KEY, "AccountKey=", r"AccountKey=(?P<secret>[A-Za-z0-9+/]{86}==)"),
    _row(
        "Azure",
        API_KEY,
        "SharedAccessKey=",
        r"SharedAccessKey=(?P<secret>[A-Za-z0-9+/]{43}=)",
    ),
    _row("Slack", REFRESH, "xoxe-", r"xoxe-\d-[A-Za-z0-9]{140,170}"),
    _row("Slack", ACCESS, "xoxe.xox", r"xoxe\.xox[bp]-\d-[A-Za-z0-9]{140,170}"),
    _row("Slack", ACCESS, "xoxb-", r"xoxb-[0-9]{10,13}-[0-9]{10,13}-?[A-Za-z0-9-]*"),
    _row("Slack", ACCESS, "xoxp- xoxa- xoxr- xoxs- xoxe-", r"xox[pears]-[A-Za-z0-9-]{10,}"),
    _row("Slack", OTHER, "xoxc- xoxd-", r"xox[cd]-[A-Za-z0-9%/+=-]{20,}"),
    _row("Slack", API_KEY, "xapp-", r"xapp-\d-[A-Z0-9]+-\d+-[a-z0-9]+"),
    _row(
        "Slack",
        OTHER,
        "hooks.slack.com/",
        r"hooks\.slack\.com/(?:services|workflows|triggers)/(?P<secret>[A-Za-z0-9+/]{43,56})",
    ),
    _row("Anthropic", API_KEY, "sk-ant-", r"sk-ant-(?:api03|admin01)-[A-Za-z0-9_-]{93}AA\b"),
    _row("Anthropic", ACCESS, "sk-ant-oat01-", r"sk-ant-oat01-[A-Za-z0-9_-]{80,}"),
    _row("Anthropic", REFRESH, "sk-ant-ort01-", r"sk-ant-ort01-[A-Za-z0-9_-]{80,}"),
    _row("Anthropic", API_KEY, "sk-ant-", r"sk-ant-[A-Za-z0-9_-]{32,}", MEDIUM),
    _row("OpenRouter", API_KEY, "sk-or-v1-", r"sk-or-v1-[0-9a-f]{64}\b"),
    _row("Langfuse", API_KEY, "sk-lf-", r"sk-lf-[0-9a-f-]{36}" + _END),
    _row(
        "OpenAI",
        API_KEY,
        "sk-proj- sk-svcacct- sk-admin-",
        r"sk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{20,74}T3BlbkFJ[A-Za-z0-9_-]{20,74}",
    ),
    _row("OpenAI", API_KEY, "sk-proj- sk-svcacct- sk-admin-", r"sk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{40,}", MEDIUM),
    _row("OpenAI", API_KEY, "sk-", r"sk-[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}\b"),
    _row("DeepSeek", API_KEY, "sk-", r"sk-[0-9a-f]{32}\b", MEDIUM),
    _row("OpenAI", API_KEY, "sk-", r"sk-[A-Za-z0-9]{48}\b", MEDIUM),
    _row("Hugging Face", PAT, "hf_", r"hf_[A-Za-z0-9]{34}\b"),
    _row("Hugging Face", API_KEY, "api_org_", r"api_org_[A-Za-z]{34}\b"),
    _row("xAI", API_KEY, "xai-", r"xai-[A-Za-z0-9_-]{70,120}"),
    _row("Groq", API_KEY, "gsk_", r"gsk_[A-Za-z0-9]{52}\b"),
    _row("Perplexity", API_KEY, "pplx-", r"pplx-[A-Za-z0-9]{48}\b"),
    _row("Cerebras", API_KEY, "csk-", r"csk-[a-z0-9]{48}\b"),
    _row("Together AI", API_KEY, "tgp_v1_", r"tgp_v1_[A-Za-z0-9_-]{43}"),
    _row("Replicate", API_KEY, "r8_", r"r8_[A-Za-z0-9]{37}\b"),
    _row("NVIDIA", API_KEY, "nvapi-", r"nvapi-[A-Za-z0-9_-]{60,70}"),
    _row("Stripe", API_KEY, "sk_live_ sk_test_ sk_prod_", r"sk_(?:live|test|prod)_[A-Za-z0-9]{10,250}"),
    _row("Stripe", API_KEY, "rk_live_ rk_test_ rk_prod_", r"rk_(?:live|test|prod)_[A-Za-z0-9]{10,250}"),
    _row("Stripe", OTHER, "whsec_", r"whsec_[A-Za-z0-9+/=]{24,}", MEDIUM),
    _row("Square", ACCESS, "EAAA", r"EAAA[\w-]{56,60}" + _END, MEDIUM),
    _row("Square", ACCESS, "sq0atp-", r"sq0atp-[\w-]{22,60}", MEDIUM),
    _row("Square", CLIENT_SECRET, "sq0csp-", r"sq0csp-[\w-]{43}", MEDIUM),
    _row("Shopify", API_KEY, "shpat_ shpca_ shppa_ shpss_", r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}\b"),
    _row("npm", PAT, "npm_", r"npm_[A-Za-z0-9]{36}\b"),
    _row("PyPI", API_KEY, "pypi-", r"pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,}"),
    _row("RubyGems", API_KEY, "rubygems_", r"rubygems_[a-f0-9]{48}\b"),
    _row("crates.io", API_KEY, "cio", r"cio[A-Za-z0-9]{32}\b", MEDIUM),
    _row("Docker Hub", PAT, "dckr_pat_ dckr_oat_", r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{27,32}"),
    _row("Notion", API_KEY, "ntn_", r"ntn_[0-9]{11}[A-Za-z0-9]{35}\b"),
    _row("Notion", API_KEY, "secret_", r"secret_[A-Za-z0-9]{43}\b", MEDIUM),
    _row("Linear", API_KEY, "lin_api_", r"lin_api_[A-Za-z0-9]{40}\b"),
    _row("Linear", ACCESS, "lin_oauth_", r"lin_oauth_[A-Za-z0-9]{40,64}\b", MEDIUM),
    _row("Sentry", API_KEY, "sntrys_", r"sntrys_[A-Za-z0-9+/=_]{60,}"),
    _row("Sentry", PAT, "sntryu_", r"sntryu_[a-f0-9]{64}\b"),
    _row("Atlassian", API_KEY, "ATAT", r"ATAT[A-Za-z0-9_=-]{100,}"),
    _row("Atlassian", API_KEY, "ATCT", r"ATCT[A-Za-z0-9_=-]{100,}", MEDIUM),
    _row("Airtable", PAT, "pat", r"pat[A-Za-z0-9]{14}\.[a-f0-9]{64}\b"),
    _row("Figma", PAT, "figd_", r"figd_[A-Za-z0-9_-]{38,42}"),
    _row("Postman", API_KEY, "PMAK-", r"PMAK-[a-fA-F0-9]{24}-[a-fA-F0-9]{34}\b"),
    _row("Databricks", PAT, "dapi", r"dapi[a-f0-9]{32}(?:-\d)?\b"),
    _row("Grafana", API_KEY, "glsa_", r"glsa_[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}\b"),
    _row("Grafana", API_KEY, "glc_", r"glc_[A-Za-z0-9+/]{40,150}={0,2}"),
    _row("HashiCorp Vault", OTHER, "hvs.", r"hvs\.[A-Za-z0-9_-]{90,120}"),
    _row("HashiCorp Vault", OTHER, "hvb.", r"hvb\.[A-Za-z0-9_-]{138,300}"),
    _row("HashiCorp Vault", OTHER, "hvr.", r"hvr\.[A-Za-z0-9_-]{20,}", MEDIUM),
    _row("HashiCorp Vault", OTHER, "hvs.", r"hvs\.[A-Za-z0-9_-]{24,}", MEDIUM),
    _row("HashiCorp Vault", OTHER, "s. b. r.", r"[sbr]\.[A-Za-z0-9]{24,}\b", MEDIUM, keywords="vault bao"),
    _row(
        "Terraform Cloud",
        API_KEY,
        "",
        r"\b[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,70}",
        needle=".atlasv1.",
    ),
    _row("DigitalOcean", PAT, "dop_v1_", r"dop_v1_[a-f0-9]{64}\b"),
    _row("DigitalOcean", ACCESS, "doo_v1_", r"doo_v1_[a-f0-9]{64}\b"),
    _row("DigitalOcean", REFRESH, "dor_v1_", r"dor_v1_[a-f0-9]{64}\b"),
    _row("Cloudflare", API_KEY, "cfut_ cfat_", r"cf[ua]t_[A-Za-z0-9]{40}[a-f0-9]{8}\b"),
    _row("Cloudflare", API_KEY, "v1.0-", r"v1\.0-[a-f0-9]{24}-[a-f0-9]{146}\b"),
    _row("Supabase", PAT, "sbp_", r"sbp_[a-z0-9_-]{40}"),
    _row("Supabase", API_KEY, "sb_secret_", r"sb_secret_[A-Za-z0-9_-]{31}"),
    _row("Vercel", API_KEY, "vca_ vcp_ vci_ vcr_ vck_", r"vc[apirk]_[A-Za-z0-9_-]{56}"),
    _row("Fly.io", API_KEY, "FlyV1 ", r"FlyV1 (?P<secret>[\w=,/+-]{100,})"),
    _row("Render", API_KEY, "rnd_", r"rnd_[A-Za-z0-9]{28}\b"),
    _row("Neon", API_KEY, "napi_", r"napi_[A-Za-z0-9]{64}\b"),
    _row("PlanetScale", API_KEY, "pscale_tkn_ pscale_oauth_", r"pscale_(?:tkn|oauth)_[\w=.-]{32,64}"),
    _row("PlanetScale", Kind.DATABASE_PASSWORD, "pscale_pw_", r"pscale_pw_[\w=.-]{32,64}"),
    _row("Heroku", API_KEY, "HRKU-", r"HRKU-[A-Za-z0-9_-]{60}"),
    _row("Twilio", API_KEY, "SK", r"SK[0-9a-f]{32}\b", MEDIUM),
    _row("SendGrid", API_KEY, "SG.", r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}" + _END),
    _row("Resend", API_KEY, "re_", r"re_[1-9A-HJ-NP-Za-km-z]{8}_[1-9A-HJ-NP-Za-km-z]{24}\b"),
    _row("Mailgun", API_KEY, "key-", r"key-[a-f0-9]{32}\b", MEDIUM),
    _row("Mailchimp", API_KEY, "", r"\b[a-f0-9]{32}-us\d{1,2}\b", MEDIUM, needle="-us"),
    _row("CircleCI", PAT, "CCIPAT_ CCIPRJ_", r"CCI(?:PAT|PRJ)_[A-Za-z0-9]{22}_[a-f0-9]{40}"),
    _row("Buildkite", API_KEY, "bkua_", r"bkua_[a-z0-9]{40,53}\b"),
    _row("Doppler", PAT, "dp.pt.", r"dp\.pt\.[A-Za-z0-9]{43}\b"),
    _row(
        "Doppler", API_KEY, "dp.st. dp.sa. dp.ct.", r"dp\.(?:st|sa|ct)\.(?:[a-z0-9_-]+\.)?[A-Za-z0-9]{40,44}\b", MEDIUM
    ),
    _row("Pulumi", PAT, "pul-", r"pul-[a-f0-9]{40}\b"),
    _row("1Password", API_KEY, "ops_eyJ", r"ops_eyJ[A-Za-z0-9+/]{250,}={0,3}"),
    _row("LangSmith", API_KEY, "lsv2_", r"lsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}\b"),
    _row("PostHog", API_KEY, "phx_", r"phx_[A-Za-z0-9_-]{41,49}"),
    _row("Pinecone", API_KEY, "pcsk_", r"pcsk_[A-Za-z0-9]{5,6}_[A-Za-z0-9]{63}\b"),
    _row("Tailscale", API_KEY, "tskey-", r"tskey-(?:api|auth|client)-[A-Za-z0-9_-]{20,}"),
    _row("Brave Search", API_KEY, "BSA", r"BSA[A-Za-z0-9_-]{24,40}" + _END, MEDIUM),
    _row("Tavily", API_KEY, "tvly-", r"tvly-[A-Za-z0-9_-]{20,}"),
    _row("Firecrawl", API_KEY, "fc-", r"fc-[0-9a-f]{32}\b"),
    _row("Apify", API_KEY, "apify_api_", r"apify_api_[A-Za-z0-9]{34,38}\b"),
    _row("Context7", API_KEY, "ctx7sk-", r"ctx7sk-[A-Za-z0-9-]{20,}"),
    _row("E2B", API_KEY, "e2b_", r"e2b_[0-9a-f]{40}"),
    _row("Okta", API_KEY, "00", r"00[A-Za-z0-9_=-]{40}" + _END, MEDIUM, keywords="okta"),
    _row(
        "Telegram",
        API_KEY,
        "",
        r"(?<![0-9])[0-9]{8,10}:A[A-Za-z0-9_-]{34}" + _END,
        MEDIUM,
        needle=":A",
    ),
    _row(
        "Discord",
        API_KEY,
        "M N O",
        r"[MNO][A-Za-z0-9_-]{23,26}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,}",
        MEDIUM,
    ),
    _row("MongoDB Atlas", CLIENT_SECRET, "mdb_sa_sk_", r"mdb_sa_sk_[A-Za-z0-9_-]{40}"),
    _row("JWT", ACCESS, "eyJ", r"eyJ[A-Za-z0-9_-]{10,4000}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*", MEDIUM),
    _row(
        "Private key",
        OTHER,
        "-----BEGIN ",
        r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----"
        r"(?:(?:\\r)?\\n|\s|[A-Za-z0-9+/=,:]|-(?!----)){20,20000}?-----END [A-Z ]{0,20}PRIVATE KEY-----",
    ),
    _row("age", OTHER, "AGE-SECRET-KEY-1", r"AGE-SECRET-KEY-1[0-9A-Z]{58}"),
    _row("Smithery", API_KEY, "smithery_", r"smithery_[A-Za-z0-9_-]{24,}", MEDIUM),
    _row("Composio", API_KEY, "comp_", r"comp_[A-Za-z0-9]{20,}\b", MEDIUM, keywords="composio"),
)

# Public by design: found so that they are not mistaken for a secret.
_PUBLIC = re.compile(
    r"(?:pk_(?:live|test|prod)_|phc_|sb_publishable_|pk-lf-|sntryp_|mdb_sa_id_|pk\.eyJ|G-|UA-|AC[0-9a-f]{32}$)"
)


def _prefilter() -> tuple[re.Pattern[str], dict[str, tuple[Format, ...]], tuple[Format, ...]]:
    starts: dict[str, list[Format]] = {}
    for row in FORMATS:
        for prefix in row.prefixes:
            starts.setdefault(prefix, []).append(row)
    # One beginning may open another ("sk-" and "sk-ant-"): the longer one stands first, and both sets of rows apply.
    ordered = sorted(starts, key=len, reverse=True)
    table = {p: tuple(r for q in ordered if p.startswith(q) for r in starts[q]) for p in ordered}
    # The single letters of Discord's form would stop the scan at every word; they are told apart in the expression.
    words = [
        re.escape(p)
        for p in ordered
        if len(p) > 1 and " " not in p and p not in {"s.", "b.", "r.", "00", "pat", "cio", "SK"}
    ]
    words += [
        r"(?=[MNO][A-Za-z0-9_-]{23,26}\.[A-Za-z0-9_-]{6}\.)[MNO]",
        r"[sbr]\.(?=[A-Za-z0-9]{24})",
        r"00(?=[A-Za-z0-9_=-]{40})",
        r"pat(?=[A-Za-z0-9]{14}\.)",
        r"cio(?=[A-Za-z0-9]{32}\b)",
        r"SK(?=[0-9a-f]{32})",
    ]
    expression = re.compile(r"\b(?=[A-Za-z0-9_./=-]{12})(?:" + "|".join(words) + r")")
    return expression, table, tuple(row for row in FORMATS if row.needle)


_STARTS, _BY_PREFIX, _BY_NEEDLE = _prefilter()
# No format is shorter; what lies between such runs (keys, blanks, punctuation) is never looked at closely.
_RUNS = re.compile(r"[A-Za-z0-9_.+/=~:-]{15,}")
_BROKEN_BY_BLANKS = (("-----BEGIN", "PRIVATE KEY-----"), ("FlyV1", "FlyV1 "))


def find(text: str, context: str = "") -> Iterator[Match]:
    """Known formats in `text`, in no particular order. `context` (a field's name) is searched for keywords too."""
    done = -1
    for run in _RUNS.finditer(text):
        for hit in _STARTS.finditer(text, *run.span()):
            if hit.start() < done:
                continue
            match = _match_at(text, hit.start(), hit.group(), context)
            if match is not None:
                done = match.end
                yield match
    for beginning, sign in _BROKEN_BY_BLANKS:
        if sign in text:
            start = text.find(beginning)
            while start >= 0:
                match = _match_at(text, start, beginning, context)
                if match is not None:
                    yield match
                start = text.find(beginning, match.end if match else start + 1)
    for row in _BY_NEEDLE:
        if row.needle in text:
            for found in row.pattern.finditer(text):
                yield Match(row, *found.span(), "")


def _match_at(text: str, start: int, prefix: str, context: str) -> Match | None:
    for row in _BY_PREFIX[prefix]:
        found = row.pattern.match(text, start)
        if found is not None and _has_keyword(row, text, context):
            if "secret" in row.pattern.groupindex:
                return Match(row, *found.span("secret"), "")
            return Match(row, start, found.end(), prefix if len(prefix) > 1 else "")
    return None


def _has_keyword(row: Format, text: str, context: str) -> bool:
    if not row.keywords:
        return True
    where = f"{context} {text}".lower()
    return any(word in where for word in row.keywords)


# --- what a value says about itself, offline -------------------------------------------------------------------------

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def github_checksum_holds(token: str) -> bool | None:
    """Whether the last six characters fit the rest; None for the forms that carry no checksum."""
    body = token.partition("_")[2]
    if not token.startswith(("ghp_", "gho_", "ghu_", "ghs_", "ghr_")) or len(body) != 36:
        return None
    number, digits = zlib.crc32(body[:-6].encode()), ""
    while number:
        number, rest = divmod(number, 62)
        digits = _BASE62[rest] + digits
    return digits.rjust(6, "0") == body[-6:]


def aws_account(key_id: str) -> str | None:
    """The account an AWS key id belongs to, encoded in the id itself."""
    try:
        number = int.from_bytes(base64.b32decode(key_id[4:])[:6], "big")
    except (binascii.Error, ValueError):
        return None
    account = f"{(number & 0x7FFFFFFFFF80) >> 7:012d}"
    return account if len(account) == 12 else None


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """What a JWT says of itself. Nobody checked its signature: good for dates in a list, never for a decision."""

    issuer: str | None
    role: str | None
    issued_at: datetime | None
    expires_at: datetime | None
    is_sample: bool


def jwt_claims(token: str) -> TokenClaims | None:
    """The claims of a JWT, unverified; None when it is none."""
    parts = token.split(".")
    if len(parts) != 3 or len(token) > 16_384:
        return None
    try:
        payload: Any = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return None
    if not isinstance(payload, dict):
        return None
    return TokenClaims(
        issuer=payload["iss"][:200] if isinstance(payload.get("iss"), str) else None,
        role=payload["role"] if isinstance(payload.get("role"), str) else None,
        issued_at=instant(payload.get("iat")),
        expires_at=instant(payload.get("exp")),
        is_sample=payload.get("sub") == "1234567890" and payload.get("name") == "John Doe",
    )


def instant(moment: object) -> datetime | None:
    """A time written as seconds or milliseconds since 1970, or as ISO 8601; None when it is none of these."""
    if isinstance(moment, str):
        try:
            if moment.isdigit() and len(moment) < 15:
                return instant(int(moment))
            parsed = datetime.fromisoformat(moment)
        except ValueError:
            return None
        return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    if isinstance(moment, bool) or not isinstance(moment, int | float) or not 0 < moment < 4e12:
        return None
    return datetime.fromtimestamp(moment / 1000 if moment > 4e10 else moment, tz=UTC)


# Values that vendors print in their own documentation, by digest, so that no scanner stumbles over this file.
_SAMPLES = frozenset(
    {
        "2cafc0970149a84f3b9e62eaf169f36f",
        "3543c50b0cb9cea8e55eb1f529b79f04",
        "f5375a46365089a84f4f822b70d44e74",
        "f2d6ca16515033e5dce14eba840b979d",
        "7e8de44ea9ecf6d53415c90f5b249a85",
    }
)


def is_vendor_sample(value: str) -> bool:
    """Whether this is a value from a vendor's documentation."""
    if value.endswith(("EXAMPLE", "EXAMPLEKEY")):
        return True
    if not value.startswith(("sk_test_", "ghp_", "xoxb-")):
        return False
    return sha256(value.encode("utf-8", "replace")).hexdigest()[:32] in _SAMPLES


def is_public(value: str) -> bool:
    """Whether a key is public by design: publishable keys, project tokens, the anonymous role's JWT."""
    if value.startswith("eyJ"):
        claims = jwt_claims(value)
        return claims is not None and claims.role == "anon"
    return _PUBLIC.match(value) is not None
