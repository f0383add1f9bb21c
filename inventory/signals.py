"""What inventory tells whoever listens: apps above connect to it, so inventory need not know them."""

from django.dispatch import Signal

# A sync ended and its rows are committed. Arguments: run (SyncRun).
synced = Signal()

# Tags are about to change. Whoever listens answers with those on which decisions depend that owners do not make.
tagging = Signal()

# Sent by the action that allows something. Arguments: clients, grants, or grant and is_wider; actor, now.
clients_admitted = Signal()
grants_approved = Signal()
grant_changed = Signal()
