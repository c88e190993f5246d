"""Structured log lines of a process, on standard error."""

from __future__ import annotations

import logging
import sys

# structlog loads what is installed and isn't used here: rich, for tracebacks, greenlet, for local variables.
# They are 5 MB of an idle master.
_unused = {name: sys.modules.get(name) for name in ("rich", "greenlet")}
for _name in _unused:
    sys.modules[_name] = None  # type: ignore[assignment]  # what import takes as "there is none"
try:
    import structlog
finally:
    for _name, _module in _unused.items():
        del sys.modules[_name]
        if _module is not None:
            sys.modules[_name] = _module

__all__ = ["set_up", "structlog"]


def set_up(log_format: str | None = None, level: int = logging.INFO) -> None:
    """Log as JSON lines, or as text for people (the default on a terminal)."""
    text = log_format == "text" if log_format else sys.stderr.isatty()
    processors: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if text:
        processors.append(
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        )
    else:
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.getLogger().addHandler(_Libraries())


class _Libraries(logging.Handler):
    """What libraries have to say (warnings and worse), in the form of all other lines."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            structlog.get_logger(record.name).log(
                record.levelno, record.getMessage(), source=record.name, exc_info=record.exc_info or None
            )
        except Exception:
            self.handleError(record)
