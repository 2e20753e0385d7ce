# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Limits for repeated log lines, so that neither a failure nor a stranger can fill the disk.

`LogLimit` is for one place in the code that strangers can trigger: it permits one line per interval and counts the rest.
`RepeatFilter` is added to a log handler and limits the lines of all libraries in the same way.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from live_transcription.observability import metrics

#: Seconds for which a line counts as a repetition of an earlier one.
INTERVAL_S = 60.0
#: Equal lines (same logger, level, text, `extra` fields and exception) that are written per interval.
EQUAL_LINES = 5
#: Lines from one place in the code that are written per interval, whatever their arguments: room tokens and error texts differ.
LINES_OF_A_PLACE = 60
#: The same for lines with a traceback, which take kilobytes.
TRACEBACKS_OF_A_PLACE = 10
#: Factor on both limits for debug lines, since level DEBUG is set to see more.
_DEBUG_FACTOR = 20
#: Limit of keys. The oldest key is dropped, with its count.
_REMEMBERED = 1000
#: Seconds between two searches for keys whose interval has ended.
_SWEEP_S = 1.0
#: Longest quote of a line in its summary, in characters.
_SUMMARISED = 500
_OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class LogLimit:
    """Allows one line per key and interval. `clock`: seconds of any monotonic clock.

    >>> if (repeated := limit.permit()) is not None:
    ...     logger.warning("Malformed STUN from a stranger", extra={"repeated": repeated})
    """

    def __init__(self, interval_s: float, clock: Callable[[], float], *, lines: int = 1) -> None:
        """`lines`: how many lines of a key may be written per interval."""
        self._interval_s = interval_s
        self._clock = clock
        self._lines = lines
        self._windows: OrderedDict[Hashable, _Window] = OrderedDict()

    def permit(self, key: Hashable = None, *, lines: int | None = None) -> int | None:
        """Returns None if the line must not be written; else the number of lines of this key suppressed since the last one.

        `lines` replaces the limit's own number for this key.
        """
        now = self._clock()
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = _Window(now)
            if len(self._windows) > _REMEMBERED:
                self._windows.popitem(last=False)
        if now - window.began_at >= self._interval_s:
            window.began_at, window.written = now, 0
        self._windows.move_to_end(key)
        if window.written >= (self._lines if lines is None else lines):
            window.left_out += 1
            return None
        window.written += 1
        left_out, window.left_out = window.left_out, 0
        return left_out

    def take_expired(self) -> list[tuple[Hashable, int]]:
        """Remove the keys whose interval has ended. Returns those with suppressed lines, and the number of these lines."""
        now = self._clock()
        over = [key for key, window in self._windows.items() if now - window.began_at >= self._interval_s]
        return [(key, left_out) for key in over if (left_out := self._windows.pop(key).left_out)]


@dataclass(slots=True)
class _Window:
    began_at: float
    written: int = 0
    left_out: int = 0


class RepeatFilter(logging.Filter):
    """Limits the lines that a handler writes, per place in the code and minute.

    Suppressed lines are counted in the metric `live_transcription_log_lines_suppressed`. Once their minute is over, the next
    line of any kind is preceded by a summary "Repeated N times: …". May be called from any thread.
    """

    def __init__(self, handler: logging.Handler, clock: Callable[[], float], *, count: bool = True) -> None:
        """`handler`: the handler that this filter is added to. `count`: whether the metric counts the suppressed lines."""
        super().__init__()
        self._handler = handler
        self._count = count
        self._equal = LogLimit(INTERVAL_S, clock, lines=EQUAL_LINES)
        self._places = LogLimit(INTERVAL_S, clock, lines=LINES_OF_A_PLACE)
        self._clock = clock
        self._swept_at = clock()
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the handler should write this record."""
        if isinstance(record, _Summary):
            return True
        traceback = record.exc_info is not None and record.exc_info[0] is not None
        factor = _DEBUG_FACTOR if record.levelno < logging.INFO else 1
        most = factor * (TRACEBACKS_OF_A_PLACE if traceback else LINES_OF_A_PLACE)
        with self._lock:
            summaries = self._summaries()
            # A suppressed equal line does not count for its place.
            permitted = (
                self._equal.permit(_key_of_line(record), lines=factor * EQUAL_LINES) is not None
                and self._places.permit(_key_of_place(record), lines=most) is not None
            )
        for summary in summaries:
            self._handler.handle(summary)
        if not permitted and self._count:
            metrics.log_lines_suppressed.labels(record.levelname.lower()).inc()
        return permitted

    def _summaries(self) -> list[_Summary]:
        now = self._clock()
        if now - self._swept_at < _SWEEP_S:
            return []
        self._swept_at = now
        return [_Summary(key, left_out) for key, left_out in (*self._equal.take_expired(), *self._places.take_expired())]


class _Summary(logging.LogRecord):
    def __init__(self, key: Hashable, left_out: int) -> None:
        assert isinstance(key, tuple)
        name, level, text = key[:3]
        super().__init__(name, level, "", 0, "Repeated %d times: %s", (left_out, str(text)[:_SUMMARISED]), None)


def _key_of_line(record: logging.LogRecord) -> tuple[str, int, str, str, str]:
    return record.name, record.levelno, message_of(record), str(extra_of(record)), _exception_of(record)


def _key_of_place(record: logging.LogRecord) -> tuple[str, int, str, int]:
    return record.name, record.levelno, str(record.msg), record.lineno


def _exception_of(record: logging.LogRecord) -> str:
    error = record.exc_info and record.exc_info[1]
    return repr(error)[:_SUMMARISED] if error else ""


def extra_of(record: logging.LogRecord) -> dict[str, Any]:
    """The fields that the caller passed as `extra`."""
    return {key: value for key, value in vars(record).items() if key not in _OWN_FIELDS}


def message_of(record: logging.LogRecord) -> str:
    """The text of the record, without its arguments if they do not match it."""
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        return str(record.msg)
