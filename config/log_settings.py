"""`LOGGING`: one line a record on standard error, as text or as JSON."""

from typing import Any

# They would write addresses, headers and bodies of targets, which can hold what must not be kept: of AWS even the
# secret of a key that was just issued.
TALKATIVE = ("httpcore2", "httpx2", "mcp", "boto3", "botocore", "s3transfer", "urllib3")


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
        "loggers": {name: {"level": "WARNING"} for name in TALKATIVE},
    }
