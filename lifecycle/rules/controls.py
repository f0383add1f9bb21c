"""The controls that rules name: of which framework each is, and what it is called there. Pure.

Titles of OWASP lists are theirs; outcomes of NIST CSF 2.0 are shortened.
"""

from dataclasses import dataclass

CSF, NHI, MCP, AGENTIC = "NIST CSF 2.0", "OWASP NHI Top 10", "OWASP MCP Top 10", "OWASP Agentic Top 10"
FRAMEWORKS = (CSF, NHI, MCP, AGENTIC)

TITLES = {
    "ID.AM-02": "Software, services and systems are inventoried",
    "ID.AM-03": "Network communication and data flows are known",
    "ID.AM-04": "Services of suppliers are inventoried",
    "ID.AM-05": "Assets are prioritised by criticality",
    "ID.AM-07": "Data is inventoried",
    "ID.AM-08": "Systems are managed through their life",
    "ID.RA-01": "Vulnerabilities are recorded",
    "ID.RA-07": "Changes and exceptions are managed",
    "GV.OV-03": "Performance is measured",
    "GV.PO-01": "Policy is set",
    "GV.PO-02": "Policy is kept current",
    "GV.RR-02": "Roles and responsibilities are known",
    "GV.RR-04": "People's coming and going is covered",
    "GV.SC-04": "Suppliers are known",
    "GV.SC-07": "Risks of suppliers are monitored",
    "GV.SC-10": "Relationships with suppliers end in order",
    "PR.AA-01": "Identities and credentials are managed",
    "PR.AA-02": "Identities are proofed and bound to credentials",
    "PR.AA-03": "Users, services and hardware are authenticated",
    "PR.AA-04": "Identity assertions are protected and verified",
    "PR.AA-05": "Permissions are enforced and reviewed",
    "PR.AA-06": "Physical access is managed",
    "PR.DS-01": "Data at rest is protected",
    "PR.DS-02": "Data in transit is protected",
    "PR.DS-10": "Data in use is protected",
    "PR.IR-01": "Networks and environments are protected",
    "PR.PS-01": "Configuration is managed",
    "PR.PS-04": "Log records are generated",
    "DE.AE-02": "Adverse events are analysed",
    "DE.AE-03": "Information of several sources is correlated",
    "DE.CM-03": "Activity of people is monitored",
    "DE.CM-06": "Activity of providers is monitored",
    "DE.CM-09": "Software and runtime are monitored",
    "RS.MI-01": "Incidents are contained",
    "RS.MI-02": "Incidents are eradicated",
    "NHI1:2025": "Improper Offboarding",
    "NHI2:2025": "Secret Leakage",
    "NHI3:2025": "Vulnerable Third-Party NHI",
    "NHI4:2025": "Insecure Authentication",
    "NHI5:2025": "Overprivileged NHI",
    "NHI6:2025": "Insecure Cloud Deployment Configurations",
    "NHI7:2025": "Long-Lived Secrets",
    "NHI8:2025": "Environment Isolation",
    "NHI9:2025": "NHI Reuse",
    "NHI10:2025": "Human Use of NHI",
    "MCP01:2025": "Token Mismanagement & Secret Exposure",
    "MCP02:2025": "Privilege Escalation via Scope Creep",
    "MCP03:2025": "Tool Poisoning",
    "MCP04:2025": "Software Supply Chain Attacks & Dependency Tampering",
    "MCP05:2025": "Command Injection & Execution",
    "MCP06:2025": "Intent Flow Subversion",
    "MCP07:2025": "Insufficient Authentication & Authorization",
    "MCP08:2025": "Lack of Audit and Telemetry",
    "MCP09:2025": "Shadow MCP Servers",
    "MCP10:2025": "Context Injection & Over-Sharing",
    "ASI01": "Agent Goal Hijack",
    "ASI02": "Tool Misuse and Exploitation",
    "ASI03": "Identity and Privilege Abuse",
    "ASI04": "Agentic Supply Chain Vulnerabilities",
    "ASI05": "Unexpected Code Execution",
    "ASI06": "Memory & Context Poisoning",
    "ASI07": "Insecure Inter-Agent Communication",
    "ASI08": "Cascading Failures",
    "ASI09": "Human-Agent Trust Exploitation",
    "ASI10": "Rogue Agents",
}


@dataclass(frozen=True, slots=True)
class Control:
    id: str
    framework: str
    title: str


def framework_of(control: str) -> str:
    for beginning, framework in (("NHI", NHI), ("MCP", MCP), ("ASI", AGENTIC)):
        if control.startswith(beginning):
            return framework
    return CSF


def by_framework(controls: tuple[str, ...]) -> list[tuple[str, list[Control]]]:
    """The controls with their titles, under their frameworks in the order of `FRAMEWORKS`."""
    made = [Control(control, framework_of(control), TITLES.get(control, "")) for control in controls]
    found = [(framework, [each for each in made if each.framework == framework]) for framework in FRAMEWORKS]
    return [(framework, each) for framework, each in found if each]
