"""Write log lines from a thread of their own, so that logging never blocks whoever logs.

Standard error may be a pipe that nobody reads, or a full disk. Making it non-blocking is not ours to do: that is a
property of the open file, which other processes share. So lines wait in bounded memory, and those beyond are dropped
and counted. The handlers with queues of the standard library bound records rather than bytes, and their end waits.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from collections import deque

# Lines that wait to be written: some 10,000 of requests.
MAX_WAITING_BYTES = 4 * 2**20
# Longest wait for them to be written at the end of the process.
FLUSH_S = 0.3


class LogWriter(logging.Handler):
    """Write formatted lines to a file descriptor; `dropped` counts those that there was no room or no disk for."""

    def __init__(self, descriptor: int, max_bytes: int = MAX_WAITING_BYTES) -> None:
        super().__init__()
        self._descriptor, self._max_bytes = descriptor, max_bytes
        self.dropped = 0
        # Lines that were dropped and not reported yet.
        self._unreported = 0
        self._lines: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        threading.Thread(target=self._write_lines, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the line of a record, or count it as dropped."""
        try:
            line = self._line(record)
        except Exception:  # arguments that do not fit the message: its caller must not fail for that
            line = None
        with self._changed:
            if line is None or self._waiting_bytes + len(line) > self._max_bytes:
                self._drop()
            else:
                self._lines.append(line)
                self._waiting_bytes += len(line)
                self._changed.notify()

    def flush(self) -> None:
        """Wait until what was logged is written, FLUSH_S at the longest."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting_bytes, FLUSH_S)

    def _line(self, record: logging.LogRecord) -> bytes:
        return f"{self.format(record)}\n".encode("utf-8", "backslashreplace")

    def _drop(self) -> None:
        self.dropped += 1
        self._unreported += 1

    def _write_lines(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines)
                line = self._lines.popleft()
            written = self._write(line)
            if written and not self._lines:
                self._tell_of_dropped()
            with self._changed:
                self._waiting_bytes -= len(line)
                if not written:
                    self._drop()
                self._changed.notify_all()

    def _tell_of_dropped(self) -> None:
        """Write a line that says how many were dropped since the last such line, if there were any."""
        with self._changed:
            unreported = self._unreported
        message = "%d lines of the log were dropped: they could not be written"
        record = logging.LogRecord("slimbayes.service", logging.WARNING, "", 0, message, (unreported,), None)
        if unreported and self._write(self._line(record)):
            with self._changed:
                self._unreported -= unreported

    def _write(self, line: bytes) -> bool:
        """Write a line to the end; return False if that is impossible."""
        left = memoryview(line)
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:  # another process made the file non-blocking
                select.select([], [self._descriptor], [])
            except OSError:
                return False
        return True


def dropped_lines() -> int:
    """Return the number of lines that this process could not log."""
    return sum(handler.dropped for handler in logging.getLogger().handlers if isinstance(handler, LogWriter))
