"""What is written to standard error: one line a request and whatever else there is to say, as text or as JSON.

Nothing here runs on import: `slimbayes serve` sets it up, and who uses the package as a library logs as they like. A
line never holds pixels, a body, a query or a path, only the route's template.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from service.pipeline.context import RequestContext
from service.settings import Settings
from service.stats import RequestOutcome

requests = logging.getLogger("slimbayes.requests")
# Asked every few seconds by machines.
QUIET_ROUTES = frozenset({"/livez", "/readyz", "/metrics", "/status"})


def configure_logging(settings: Settings) -> None:
    """Write everything that this process logs as the settings say; by default text to a terminal, JSON elsewhere."""
    chosen = settings.log_format or ("text" if sys.stderr.isatty() else "json")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if chosen == "json" else TextFormatter())
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    # Libraries say much that is of no use to an operator.
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)
    logging.getLogger("slimbayes").setLevel(level)
    logging.captureWarnings(True)


class JsonFormatter(logging.Formatter):
    """One JSON object a line; `severity` is the line's, `level` is a pruning level."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "severity": record.levelname.lower(),
            "logger": record.name,
            "message": _plain(record.getMessage()),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = _plain(self.formatException(record.exc_info))
        return orjson.dumps(line, default=str).decode()


class TextFormatter(logging.Formatter):
    """Time, severity and message, then what else is known as name=value."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        fields = (f"{name}={value}" for name, value in _fields(record).items())
        return " ".join([super().formatMessage(record), *fields])


def log_request(
    account: RequestContext, ending: RequestOutcome, state: Mapping[str, Any], milliseconds: float, trace: str | None
) -> None:
    """One line about a request that is over; `state` has its id and the name of its API key."""
    severity = logging.DEBUG if ending.route in QUIET_ROUTES and ending.outcome == "answered" else logging.INFO
    if not requests.isEnabledFor(severity):
        return
    level = account.served
    fields = {
        "request_id": state.get("request_id"),
        **ending._asdict(),
        "status": int(ending.status) if ending.status else None,
        "milliseconds": round(milliseconds, 3),
        "model": level and level.manifest.model,
        "version": level and level.manifest.version,
        "level": level and level.level.name,
        "images": account.images or None,
        "draws": account.draws or None,
        "key": state.get("caller"),
        "trace_id": trace,
    }
    known = {name: value for name, value in fields.items() if value not in (None, "")}
    requests.log(severity, "%s %s", ending.method, ending.route, extra={"fields": known})


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(record, "fields", {})
    return fields


def _plain(text: str) -> str:
    """Text that can be written whatever it holds."""
    return text.encode("utf-8", "backslashreplace").decode()
