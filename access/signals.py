"""What happens at sign-in, for the audit trail, which stands above this."""

from django.dispatch import Signal

roles_mapped = Signal()  # user, before, after: names of roles
directory_refused = Signal()  # why
