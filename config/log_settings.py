"""`LOGGING`: one line a record on standard error, as text or as JSON."""

from typing import Any


def logging_of(level: str, form: str) -> dict[str, Any]:
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"},
            "json": {"()": "config.logs.JsonFormatter"},
        },
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": form}},
        "root": {"handlers": ["console"], "level": level},
        # They would write addresses, headers and messages of targets, which can hold what must not be kept.
        "loggers": {name: {"level": "WARNING"} for name in ("httpcore2", "httpx2", "mcp")},
    }
