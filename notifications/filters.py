"""How the list of deliveries is narrowed."""

from django_filters import FilterSet

from notifications.models import Endpoint
from notifications.states import Channel, DeliveryState
from web.narrowing import ChoicesFilter, RowFilter, after, before


class DeliveryFilter(FilterSet):  # type: ignore[misc]
    state = ChoicesFilter(choices=DeliveryState.choices, label="State")
    channel = ChoicesFilter(choices=Channel.choices, label="By")
    endpoint = RowFilter(Endpoint, offered=True, field_name="endpoint", label="Endpoint")
    created_after = after("created_at", "Written from")
    created_before = before("created_at", "Written before")
