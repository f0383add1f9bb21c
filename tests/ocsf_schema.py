"""The official schema of OCSF, for whoever makes events of it."""

from functools import cache
from typing import Any

import jsonschema_rs
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from notifications.ocsf import VERSION


@cache
def _schema() -> Any:
    return OcsfJsonSchemaEmbedded(get_ocsf_schema(version=VERSION))


@cache
def _validator(class_uid: int) -> Any:
    name = _schema().lookup_class_name_from_uid(class_uid=class_uid)
    return jsonschema_rs.validator_for(_schema().get_class_schema(class_name=name, profiles=[]))


def faults(event: dict[str, Any]) -> list[str]:
    """What the schema says against an event; attributes that it does not know are against it too."""
    said = [
        f"{'/'.join(map(str, each.instance_path))}: {each.message}"
        for each in _validator(event["class_uid"]).iter_errors(event)
    ]
    if event["type_uid"] != event["class_uid"] * 100 + event["activity_id"]:
        said.append("type_uid is not that of its class and activity")
    return said
