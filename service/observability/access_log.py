"""Log to standard error, one line for each request, as text or JSON.

Nothing runs on import: `slimbayes serve` configures logging, and programs that use the package as a library configure
their own. A line never holds pixels, a body, a query or a path, only the route's template.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from model_store.text import UNPRINTABLE, printable
from service.observability.log_writer import LogWriter
from service.pipeline.context import RequestContext
from service.settings import Settings
from service.stats import RequestOutcome

requests = logging.getLogger("slimbayes.requests")
STANDARD_ERROR = 2
# A value that could be taken for several fields of a line.
AMBIGUOUS = re.compile(r'[\s"=]')
# Polled every few seconds by machines.
QUIET_ROUTES = frozenset({"/livez", "/readyz", "/metrics", "/status"})


def configure_logging(settings: Settings) -> None:
    """Configure logging for the whole process; by default text on a terminal, JSON elsewhere."""
    chosen = settings.log_format or ("text" if os.isatty(STANDARD_ERROR) else "json")
    handler = LogWriter(STANDARD_ERROR)
    handler.setFormatter(JsonFormatter() if chosen == "json" else TextFormatter())
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    # Other libraries log much that is of no use to an operator.
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)
    logging.getLogger("slimbayes").setLevel(level)
    # A damaged form or picture is the client's matter and in its answer; lines of it would let clients fill the log.
    for parser in ("python_multipart", "PIL"):
        logging.getLogger(parser).setLevel(logging.CRITICAL)
    logging.captureWarnings(True)


class JsonFormatter(logging.Formatter):
    """Format one JSON object a line; `severity` is the log level, `level` a pruning level.

    What a viewer could obey is written as JSON's escapes: every field has the value that it had.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "severity": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            text = orjson.dumps(line, default=str).decode()
        except TypeError:  # half of a surrogate pair, which is not Unicode
            text = orjson.dumps({name: _unicode(value) for name, value in line.items()}, default=str).decode()
        return UNPRINTABLE.sub(lambda found: json.dumps(found[0])[1:-1], text)


class TextFormatter(logging.Formatter):
    """Format time, severity and message, then other fields as name=value; the lines of a traceback are indented.

    Nothing in a message can look like the beginning of a line.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        fields = (f"{name}={_value(value)}" for name, value in _fields(record).items())
        return " ".join([printable(super().formatMessage(record)), *fields])

    def formatException(self, ei: Any) -> str:
        return "\n".join(f"  {printable(line)}" for line in super().formatException(ei).split("\n"))


def log_request(
    context: RequestContext, outcome: RequestOutcome, state: Mapping[str, Any], milliseconds: float, trace: str | None
) -> None:
    """Log a finished request; `state` holds its id and the name of its API key."""
    severity = logging.DEBUG if outcome.route in QUIET_ROUTES and outcome.outcome == "answered" else logging.INFO
    if not requests.isEnabledFor(severity):
        return
    level = context.level
    fields = {
        "request_id": state.get("request_id"),
        **outcome._asdict(),
        "status": int(outcome.status) if outcome.status else None,
        "milliseconds": round(milliseconds, 3),
        "model": level and level.manifest.model,
        "version": level and level.manifest.version,
        "level": level and level.level.name,
        "images": context.images or None,
        "draws": context.draws or None,
        "key": state.get("caller"),
        "trace_id": trace,
    }
    known = {name: value for name, value in fields.items() if value not in (None, "")}
    requests.log(severity, "%s %s", outcome.method, outcome.route, extra={"fields": known})


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(record, "fields", {})
    return fields


def _unicode(value: object) -> object:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _value(value: object) -> str:
    text = printable(str(value))
    return json.dumps(text, ensure_ascii=False) if AMBIGUOUS.search(text) else text
