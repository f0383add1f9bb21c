"""When each rule says what, in words for its page. `docs/rules.md` says the same in tables."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Explanation:
    """Sentences without their end. Empty is never; `graded` is what else decides how severe a finding is."""

    violated: str
    unknown: str = ""
    not_applicable: str = ""
    graded: str = ""


EXPLAINED: dict[str, Explanation] = {
    "hard-coded": Explanation(
        violated="A literal was seen in a file and is still there",
        graded="Raised too when other users can read a file",
    ),
    "reused-across-environments": Explanation(
        violated="Its present uses lie in two environments or more",
        unknown="It has two uses or more, and one lies in an environment that nobody named",
        not_applicable="Nothing uses it at present",
    ),
    "reused-across-clients": Explanation(
        violated="Two clients or more hold it",
        not_applicable="Nothing uses it at present",
    ),
    "reused-across-servers": Explanation(
        violated="It is sent to two servers or more",
        not_applicable="Nothing uses it at present",
    ),
    "no-owner": Explanation(
        violated="No owner is assigned",
    ),
    "owner-inactive": Explanation(
        violated="Its owner is no longer active",
        not_applicable="It has no owner",
    ),
    "unrotated": Explanation(
        violated="Its issue date, or else the first time it was seen, is longer ago than the policy's maximum age",
        unknown="The issue date is not known, and it was seen for less than that",
        not_applicable="The policy sets no maximum age",
    ),
    "stale": Explanation(
        violated="Its last use is longer ago than the policy's maximum idle time",
        unknown="Nobody saw its last use",
        not_applicable="The policy sets no idle time",
    ),
    "no-expiry": Explanation(
        violated="Its provider lists it without an expiry",
        unknown="It was found elsewhere, and nobody told its expiry",
        not_applicable="The policy asks for none",
    ),
    "lifetime-too-long": Explanation(
        violated="From its issue, or else from its first sighting, to its expiry is longer than the policy allows",
        unknown="Neither is long enough, and one of the two dates is not known",
        not_applicable="The policy sets no lifetime",
    ),
    "expired-still-active": Explanation(
        violated="Its expiry has passed and it is still there",
        not_applicable="It has no known expiry",
        graded="Raised too when its provider calls it active",
    ),
    "disabled-everywhere": Explanation(
        violated="Every entry that holds it is switched off",
        not_applicable="Nothing uses it at present",
        graded="Never raised",
    ),
    "static-key-where-consent-expected": Explanation(
        violated="It is an API key or another value presented as it is, and a remote server it is sent to has an "
        "authorization server",
        unknown="One of these servers was never probed, so nobody has asked it",
        not_applicable="It is a token, a client secret or a password, a user consented to it, or no server gets it",
    ),
    "consented-without-subject": Explanation(
        violated="A user consented to it, and its provider lists it without that user",
        unknown="It was found elsewhere, and nothing there says whose it is",
        not_applicable="No user consented to it",
    ),
    "scope-too-broad": Explanation(
        violated="One of its scopes is a wildcard or means everything (*, admin:*, repo:all, full_access), or it "
        "carries all of the three scopes or more that a server offers",
        unknown="It is a token whose scopes are not known",
        not_applicable="It is of a kind without scopes, and has none",
    ),
    "scope-not-granted": Explanation(
        violated="It carries a scope that no grant in force for the clients and servers it is used with allows",
        unknown="Its scopes are not known, or where it is used is not",
        not_applicable="It is no access or refresh token",
    ),
    "server-unclassified": Explanation(
        violated="Nobody has said what role it plays",
    ),
    "server-owner-missing": Explanation(
        violated="One of its three owners (IAM, platform, application) is missing or inactive",
    ),
    "floating-version": Explanation(
        violated="Its package is started without a version that holds still",
        unknown="It cannot be read from the command",
        not_applicable="It starts no package",
    ),
    "plaintext-url": Explanation(
        violated="Its URL is http: or ws: and leaves the machine",
        unknown="Its URL does not say how it is reached (${BASE}/mcp)",
        not_applicable="It has no URL",
    ),
    "anonymous-server": Explanation(
        violated="A request without a token is answered (check MCP-RS-01)",
        unknown="It was not probed, or the probe could not tell",
        not_applicable="It is not reached by HTTP",
        graded="Raised too when it lists its tools",
    ),
    "posture-violations": Explanation(
        violated="A check of medium severity or worse is violated, other than those with a rule of their own",
        unknown="It was not probed, or a check of that severity is unknown",
        not_applicable="It is not reached by HTTP",
        graded="As severe as the worst check",
    ),
    "issuer-posture-violations": Explanation(
        violated="A check of its authorization server of medium severity or worse is violated",
        unknown="Its authorization server was not checked, or a check of that severity is unknown",
        not_applicable="No authorization server is known",
        graded="As severe as the worst check",
    ),
    "tool-definition-changed": Explanation(
        violated="A tool that it lists is not defined as it was approved",
        unknown="Its tools could not be listed the last time",
        not_applicable="None of its tools was approved",
    ),
    "destructive-tool-ungranted": Explanation(
        violated="A client that reaches it has no grant in force that names all its destructive tools",
        unknown="Its tools were never listed or could not be the last time, or an ungranted tool says neither that "
        "it only reads nor whether it destroys",
        not_applicable="No enabled entry of a client names it",
    ),
    "tool-surface-ungranted": Explanation(
        violated="A client that reaches it has no grant in force that names all its tools",
        unknown="Its tools were never listed, or could not be the last time",
        not_applicable="No enabled entry of a client names it",
    ),
    "third-party-exposure": Explanation(
        violated="It is a vendor's, or its host is under none of KEYREEVE_OWN_DOMAINS, and it is sent credentials "
        "that no user consented to",
        unknown="It is sent such credentials, and nobody has said whose its host is",
        not_applicable="It has neither vendor nor URL",
    ),
    "server-not-probed": Explanation(
        violated="It has not answered a probe for 30 days",
        not_applicable="It is not reached by HTTP",
        graded="Never raised",
    ),
    "dynamic-client-unreviewed": Explanation(
        violated="It registered itself (dynamically or by a metadata document) and is in quarantine for more than 7 "
        "days",
        not_applicable="It was registered beforehand, or only a configuration file names it",
        graded="High after 30 days",
    ),
    "duplicate-or-dead-client": Explanation(
        violated="Its registration is unused: beside a live one that looks alike, or for long",
        unknown="Its use cannot be seen",
        not_applicable="Only a configuration file names it",
        graded="Low for a duplicate, medium for a dead one",
    ),
    "client-owner-missing": Explanation(
        violated="It has no owner, or one who is no longer active",
        not_applicable="Only a configuration file names it",
    ),
    "client-posture-violations": Explanation(
        violated="A check of its registration or metadata document of medium severity or worse is violated, other "
        "than those with a rule of their own",
        unknown="It was not checked, or a check of that severity is unknown",
        not_applicable="Only a configuration file names it and nothing was checked",
        graded="As severe as the worst check",
    ),
    "connection-not-synced": Explanation(
        violated="No sync of it was complete for twice its interval, or its last three runs failed",
        not_applicable="It is switched off, or synced only when asked",
        graded="High after ten intervals, at least 7 days",
    ),
    "connection-partial": Explanation(
        violated="Its last run could not read everything",
        unknown="Its last run failed",
        not_applicable="It is switched off, or was never run",
        graded="Never raised",
    ),
    "heartbeat-missed": Explanation(
        violated="A scheduled job has not ended well for one and a half times its cadence and five minutes, or its "
        "last three runs failed; of a cadence of six hours and more the last one",
        unknown="It never ended well and was not planned for so long, or its last end lies in the future because a "
        "clock was wrong",
        graded="High after ten cadences, at least a day",
    ),
    "kept-as-literal": Explanation(
        violated="The policy wants references only, and a literal was seen in a file and is still there, or that is "
        "how it was found",
        unknown="Only its provider is known, and nobody saw where it is kept",
        not_applicable="The policy does not ask for it, or a client keeps it in its own token store",
    ),
    "scope-not-allowed": Explanation(
        violated="It carries a scope that is none of those that the policy allows; repo:* allows what begins so",
        unknown="Its scopes are not known",
        not_applicable="The policy names no scopes, or it is of a kind without scopes and has none",
    ),
    "review-overdue": Explanation(
        violated="Nobody has confirmed for longer than the policy's review interval that it is needed; before the "
        "first confirmation the interval begins with its first sighting",
        unknown="It is known for less than the interval, and nobody has confirmed it yet",
        not_applicable="The policy sets no review interval",
    ),
    "valid-after-revocation": Explanation(
        violated="A version that was destroyed is the value once more and its provider lists it as active, it was "
        "used after it was destroyed, or an earlier version that a rotation destroyed is listed as active again",
        unknown="The value is there once more, and its provider does not say whether it still accepts it",
        not_applicable="None of its versions was destroyed",
    ),
    "revocation-overdue": Explanation(
        violated="It has been suspended for 7 days and is not destroyed, its owner left a day ago or longer, every "
        "client that it was issued to or is used by was removed, or its revocation was asked for a day ago (an urgent "
        "one an hour ago) and nobody has seen it refused",
        unknown="Its owner is inactive, and nobody kept since when",
        not_applicable="It is neither suspended, nor being revoked, nor of an inactive owner, nor of removed clients",
    ),
    "revocation-unverified": Explanation(
        violated="It was revoked, or rotated, and nobody could tell whether the secret is refused; until somebody says "
        "what they saw, it counts as alive for every rule",
        not_applicable="No such end of it is unverified",
        graded="Raised once the time to look has passed, a week as a rule",
    ),
    "operation-not-ended": Explanation(
        violated="Its rotation or revocation has given up and waits for somebody, was proposed 14 days ago without a "
        "decision, or is at one step for a day longer than planned, a week where consumers have to move",
        not_applicable="It is neither being rotated nor revoked",
        graded="High for a revocation that was decided",
    ),
    "subject-inactive": Explanation(
        violated="The user who consented to it is an owner of the inventory who has left, found by e-mail address or "
        "external id",
        unknown="Nobody in the inventory is called so, or it names nobody",
        not_applicable="No user consented to it",
    ),
    "logging-missing": Explanation(
        violated="Somebody recorded that it does not log a happening (issuance, validation, refresh, revocation) "
        "that the policies of the credentials used on it ask for, for credentials of that trust model",
        unknown="One of these happenings was not recorded for it",
        not_applicable="No policy that binds a credential used on it asks for logs",
    ),
    "stalled-operation": Explanation(
        violated="Its removal has given up and waits for somebody",
        not_applicable="It is not being removed",
    ),
}
