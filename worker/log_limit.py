"""How much of what a trainer prints is kept: the beginning up to a limit, and the end, where a failure's reason is."""

from collections import deque

from service.domain.health_notes import Note
from worker.protocol import Failed, Finished, Stopped, Warned
from worker.trainer_process import LogLine, TrainerOutput

LAST_LINES, LAST_CHARACTERS = 200, 2000  # of each of them


class LogLimit:
    """The log of one attempt. Past `limit` bytes only the last lines are kept, and written when the job ends."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._left = limit
        self._last: deque[LogLine] = deque(maxlen=LAST_LINES)
        self._lines_past_limit = 0
        self._warned = False

    def admit(self, outputs: list[TrainerOutput]) -> list[TrainerOutput]:
        """What is to be written now: all events, the lines within the limit, one warning when it is reached."""
        admitted: list[TrainerOutput] = []
        for output in outputs:
            if isinstance(output, Failed | Finished | Stopped):
                admitted += self.last_lines()
            if not isinstance(output, LogLine):
                admitted.append(output)
            elif self._left > 0:
                admitted.append(self._within_limit(output))
            else:
                admitted += self._past_limit(output)
        return admitted

    def last_lines(self) -> list[TrainerOutput]:
        """The last lines, returned once; also for a trainer that died without a last event."""
        if not self._last:
            return []
        left_out = self._lines_past_limit - len(self._last)
        warning = [_warned(f"{left_out:,} lines were left out; these are the last")] if left_out else []
        last, self._last = list(self._last), deque(maxlen=LAST_LINES)
        self._lines_past_limit = 0
        return [*warning, *last]

    def _within_limit(self, line: LogLine) -> LogLine:
        """Cut at the limit: a progress bar may be a single line of gigabytes."""
        content = line.text.encode()
        size = len(content) + 1
        if size > self._left:
            line = LogLine(line.stream, content[: self._left].decode(errors="ignore"))
        self._left -= size
        return line

    def _past_limit(self, line: LogLine) -> list[TrainerOutput]:
        self._lines_past_limit += 1
        self._last.append(LogLine(line.stream, line.text[:LAST_CHARACTERS]))
        if self._warned:
            return []
        self._warned = True
        message = f"the log has reached {self._limit:,} bytes (HONE_MAX_LOG_BYTES): from here only its end is kept"
        return [_warned(message)]


def _warned(message: str) -> Warned:
    return Warned(note=Note("log_cut", message).at(0))
