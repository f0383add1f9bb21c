"""From what a probe saw to verdicts on the authorization checklist. Pure: no network, no database, no clock."""
