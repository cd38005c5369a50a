"""A process that has imported torch forks a trainer for each job, which then starts in hundredths of a second.

Its supervisor sends it, over a Unix socket, a number and the four files of a trainer (`worker/fork_server.py`); it
answers with the process id, later with the status. A trainer that has ended stays a zombie until the supervisor has
heard it: its number, and that of its group, can thus not become another process's while it may still be killed.
The end of the socket means that the supervisor is gone: all trainers are killed. They also die with this process.
"""

import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable

from worker.protocol import FILES_OF_TRAINER, ForkReply, ForkRequest
from worker.training.processes.limits import die_with_parent

Run = Callable[[int], int]
"""Train one job, as the process that this has become, with events written to a descriptor; the exit status."""


class ForkServer:
    """One thread, no torch operation, no device: what a process has begun of these does not survive its fork."""

    def __init__(self, control: socket.socket, run: Run) -> None:
        self._control = control
        self._run = run
        self._trainers: dict[int, int] = {}
        """Process ids by the supervisor's numbers."""
        self._ended: set[int] = set()
        """Numbers of those whose status was sent."""
        self._wakeup, self._child_ended = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(self._child_ended, False)

    def serve(self) -> None:
        """Until the supervisor is gone."""
        signal.signal(
            signal.SIGCHLD, lambda number, frame: None
        )  # a handler, so that the wake-up descriptor is written
        signal.set_wakeup_fd(self._child_ended, warn_on_full_buffer=False)
        control = self._control.fileno()
        while True:
            ready, _, _ = select.select([control, self._wakeup], [], [])
            if self._wakeup in ready:
                os.read(self._wakeup, 1 << 12)
                self._tell_who_ended()
            if control in ready and not self._answer():
                break
        for pid in self._trainers.values():
            os.killpg(pid, signal.SIGKILL)

    def _answer(self) -> bool:
        """One request; False at the end of the socket."""
        data, files, _, _ = socket.recv_fds(self._control, 1 << 12, FILES_OF_TRAINER)
        if not data:
            return False
        request = ForkRequest.model_validate_json(data)
        if request.release:
            self._release(request.number)
            return True
        try:
            pid = self._fork(files)
        finally:
            for file in files:
                os.close(file)
        self._trainers[request.number] = pid
        self._send(ForkReply(number=request.number, pid=pid))
        return True

    def _fork(self, files: list[int]) -> int:
        parent = os.getpid()
        if pid := os.fork():
            os.setpgid(pid, pid)  # here too: whoever gets its number may kill the group at once
            return pid
        status = 1
        try:
            self._become_trainer(files, parent)
            status = self._run(files[3])
        except BaseException:  # noqa: BLE001 - as the interpreter would at its end, where this process must not go
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _become_trainer(self, files: list[int], parent: int) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for file in (self._wakeup, self._child_ended):
            os.close(file)
        self._control.close()
        os.setpgid(0, 0)  # of its own: a terminal's Ctrl-C reaches only the worker
        for number in range(3):
            os.dup2(files[number], number)
            os.close(files[number])
        die_with_parent(parent)

    def _release(self, number: int) -> None:
        """The supervisor has no more need of it: kill what is left of its group, and free its numbers."""
        pid = self._trainers.pop(number)
        os.killpg(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if number not in self._ended:
            self._send(ForkReply(number=number, pid=pid, status=os.waitstatus_to_exitcode(status)))
        self._ended.discard(number)

    def _tell_who_ended(self) -> None:
        for number, pid in self._trainers.items():
            if number in self._ended:
                continue
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is not None:
                self._ended.add(number)
                status = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
                self._send(ForkReply(number=number, pid=pid, status=status))

    def _send(self, reply: ForkReply) -> None:
        try:
            self._control.send(reply.model_dump_json().encode())
        except OSError:
            return  # the supervisor is gone; the next request is the end of the socket
