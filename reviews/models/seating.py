"""Who reviews what: the order in which people are asked, as SQL that gives many items their reviewers at once.

Whoever answers for something is asked first. Who may not decide alone on what they answer for is joined by a second
person, who neither answers for it nor acts for who does. Where nobody is left it is for whoever is a reviewer.
"""


def able(owner: str) -> str:
    """Somebody who is there and can decide: a team decides nothing unless somebody signs in as it."""
    return f"({owner}.is_active AND ({owner}.kind = 'person' OR {owner}.user_id IS NOT NULL))"


def first_able(*owners: str) -> str:
    """The key of the first of these that can decide; null where none can."""
    return f"coalesce({', '.join(f'CASE WHEN {able(owner)} THEN {owner}.id END' for owner in owners)})"


# Of `n`, which has owner_id and custodian_id: o answers for it, q handles it, d stands in for the owner, m is their
# manager, l leads the campaign.
IN_LINE = """
LEFT JOIN inventory_owner o ON o.id = n.owner_id
LEFT JOIN inventory_owner q ON q.id = n.custodian_id
LEFT JOIN inventory_owner d ON d.id = o.deputy_id
LEFT JOIN inventory_owner m ON m.id = o.manager_id
LEFT JOIN inventory_owner l ON l.id = %(lead)s
"""
FIRST = first_able("o", "q", "d", "m", "l")
