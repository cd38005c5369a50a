"""How much of what a trainer prints is kept: all of the beginning, and the end, where the reason of a failure is."""

from collections import deque

from worker.trainer_process import Heard, Line
from worker.training.events import Failed, Finished, Stopped, Warned

LAST_LINES, LAST_CHARACTERS = 200, 2000  # of each of them


class LogLimit:
    """The log of one attempt. Beyond `most` bytes only the last lines are kept, until its end is heard."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._left = most
        self._last: deque[Line] = deque(maxlen=LAST_LINES)
        self._dropped = 0
        self._warned = False

    def admit(self, heard: list[Heard]) -> list[Heard]:
        """What of it is to be written: everything but lines beyond the limit, and one warning when they begin."""
        admitted: list[Heard] = []
        for one in heard:
            if isinstance(one, Failed | Finished | Stopped):
                admitted += self.rest()
            if not isinstance(one, Line):
                admitted.append(one)
            elif self._left > 0:
                admitted.append(self._kept(one))
            else:
                admitted += self._beyond(one)
        return admitted

    def rest(self) -> list[Heard]:
        """The last lines, once: also for a trainer that died without a word."""
        if not self._last:
            return []
        left_out = self._dropped - len(self._last)
        told = [Warned(message=f"{left_out:,} lines were left out; these are the last")] if left_out else []
        last, self._last = list(self._last), deque(maxlen=LAST_LINES)
        self._dropped = 0
        return [*told, *last]

    def _kept(self, line: Line) -> Line:
        """One that is longer than what is left is cut: a progress bar may be a single line of gigabytes."""
        size = len(line.text.encode()) + 1
        fits = size <= self._left
        kept = line if fits else Line(line.stream, line.text.encode()[: self._left].decode(errors="ignore"))
        self._left -= size
        return kept

    def _beyond(self, line: Line) -> list[Heard]:
        self._dropped += 1
        self._last.append(Line(line.stream, line.text[:LAST_CHARACTERS]))
        if self._warned:
            return []
        self._warned = True
        message = f"the log has reached {self._most:,} bytes (HONE_MAX_LOG_BYTES): of what follows only the end is kept"
        return [Warned(message=message)]
