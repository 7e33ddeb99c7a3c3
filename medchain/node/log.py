"""Structured logs: one JSON object a line, in the node's folder.

Keeps true: a line holds a time, a level, an event's code and the few fields given with it: numbers, ids, codes. Text of
exceptions is never written, since it may quote what somebody sent; the place in the code is. Trusts callers not to give
patient data as a field (`test_privacy` searches the files).
Source: `docs/spec/node-protocol.md`.
"""

from __future__ import annotations

import logging
import logging.handlers
import sys
import threading
import traceback
from pathlib import Path
from typing import Final

import orjson

from medchain.errors import MedchainError

MAX_FILE_BYTES: Final = 16 << 20
"""Size at which a log file is put aside."""

KEPT_FILES: Final = 5
"""How many that were put aside are kept."""

_MAX_TEXT: Final = 200
_MAX_FRAMES: Final = 12
_ROOT: Final = "medchain"
_OF_LIBRARY: Final = "library.error"


class Log:
    """Writes events of one part of the node."""

    __slots__ = ("_logger",)

    def __init__(self, part: str) -> None:
        """Name the part.

        Args:
            part: such as ``supervisor``.
        """
        self._logger = logging.getLogger(f"{_ROOT}.{part}")

    def debug(self, event: str, **fields: int | str | None) -> None:
        """Write what helps to find a fault."""
        self._write(logging.DEBUG, event, fields, None)

    def info(self, event: str, **fields: int | str | None) -> None:
        """Write what happened."""
        self._write(logging.INFO, event, fields, None)

    def warning(self, event: str, **fields: int | str | None) -> None:
        """Write what may need somebody."""
        self._write(logging.WARNING, event, fields, None)

    def error(self, event: str, error: BaseException | None = None, **fields: int | str | None) -> None:
        """Write what went wrong.

        Args:
            event: its code.
            error: our own errors give code and fields, others their type and place, never their text.
            fields: ids, numbers, codes.
        """
        self._write(logging.ERROR, event, fields, error)

    def _write(self, level: int, event: str, fields: dict[str, int | str | None], error: BaseException | None) -> None:
        """Hand an event to the handlers."""
        if self._logger.isEnabledFor(level):
            self._logger.log(level, event, extra={"fields": fields, "error": error})


def open_log(folder: Path, process: str, level: str) -> None:
    """Send this process's events to a file of its own, and errors to standard error too.

    Args:
        folder: where; it exists.
        process: name of the process, such as ``daemon``; the file is named after it.
        level: least level written: ``debug``, ``info``, ``warning`` or ``error``.
    """
    handler = logging.handlers.RotatingFileHandler(
        folder / f"{process}.jsonl", maxBytes=MAX_FILE_BYTES, backupCount=KEPT_FILES, encoding="utf-8"
    )
    handler.setFormatter(JsonFormatter(process))
    # A full disk must not stop the node, nor print a traceback with the values of variables.
    logging.raiseExceptions = False
    logger = logging.getLogger(_ROOT)
    for old in list(logger.handlers):
        logger.removeHandler(old)
        old.close()
    logger.addHandler(handler)
    logger.addHandler(_alarm(process))
    logger.setLevel(level.upper())
    logger.propagate = False


def log_uncaught() -> None:
    """Write uncaught exceptions as events: a traceback of Python's shows their text, which may quote anybody.

    So would what a library logs. That, and what comes before a log is open, goes to standard error.
    """
    events = Log("process")
    sys.excepthook = lambda _kind, error, _trace: log_failed(error)
    threading.excepthook = lambda given: events.error("thread.failed", given.exc_value)
    sys.unraisablehook = lambda given: events.error("object.failed", given.exc_value)
    logging.lastResort = _alarm("process")


def log_failed(error: BaseException) -> None:
    """Write what ended this process."""
    Log("process").error("process.failed", error)


def _alarm(process: str) -> logging.Handler:
    """Make what shows errors on standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.ERROR)
    handler.setFormatter(JsonFormatter(process))
    return handler


class JsonFormatter(logging.Formatter):
    """Writes an event as one line of JSON."""

    def __init__(self, process: str) -> None:
        """Name the process that the lines come from."""
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Write one event; the text of an exception is left out, and of a library all that it says."""
        is_ours = record.name.startswith(f"{_ROOT}.")
        line: dict[str, object] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "process": self._process,
            "part": record.name.removeprefix(f"{_ROOT}."),
            "event": str(record.msg)[:_MAX_TEXT] if is_ours else _OF_LIBRARY,
        }
        fields = getattr(record, "fields", {}) if is_ours else {}
        line |= {name: _short(value) for name, value in fields.items() if name not in line}
        error = getattr(record, "error", None) if is_ours else (record.exc_info or (None, None))[1]
        if isinstance(error, BaseException):
            line["error"] = _describe(error)
        return orjson.dumps(line, default=str).decode()


def _describe(error: BaseException) -> dict[str, object]:
    """Tell of an exception what cannot quote anybody: code and fields of ours, type and place of any."""
    if isinstance(error, MedchainError):
        return {"code": error.code, **{name: _short(value) for name, value in error.fields.items()}}
    frames = traceback.extract_tb(error.__traceback__)[-_MAX_FRAMES:]
    places = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
    return {"type": type(error).__name__, "at": places}


def _short(value: object) -> object:
    """Cut long text."""
    return value[:_MAX_TEXT] if isinstance(value, str) else value
