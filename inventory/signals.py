"""What inventory tells whoever listens: apps above connect to it, so inventory need not know them."""

from django.dispatch import Signal

# A sync ended and its rows are committed. Arguments: run (SyncRun).
synced = Signal()

# Tags are about to change. Whoever listens answers with those on which decisions depend that owners do not make.
tagging = Signal()
