"""Where each life leads: its users look at all there is, then everything comes to its end."""

import sys

from machine.dispatching import Dispatching
from machine.model import ENDED, HELD, Job
from machine.truths import Truths
from machine.users import Users


class Life(Users, Dispatching, Truths):
    """Users, workers, the dispatcher and death, in any order; and what is done after the last rule."""

    def teardown(self) -> None:
        if sys.exc_info()[0] is not None:
            return  # a rule has failed, and what it says counts
        self._owners_look()
        self._all_end()

    def _owners_look(self) -> None:
        """At their lists, at the charts, at the checkpoints."""
        for owner in ("ada", "bob"):
            own = [job.id for job in self.jobs.values() if job.owner == owner]
            listed = self.service.ask(owner, "GET", "/v1/jobs?limit=100").json()["data"]
            assert [shown["id"] for shown in listed] == own[::-1], "nobody sees another's jobs"
        for job in self.jobs.values():
            self._look_at_the_metrics(job)
            self.checkpoints(job)

    def _look_at_the_metrics(self, job: Job) -> None:
        series = self.service.ask(job.owner, "GET", f"/v1/jobs/{job.id}/metrics").json()["series"]
        shown = {step: value for one in series for step, value in zip(one["steps"], one["values"], strict=True)}
        assert shown == job.reports

    def _all_end(self) -> None:
        """Nobody asks for more, and nothing breaks any more: no job is left over."""
        for _ in list(self.jobs):  # in each round at least one ends
            if self._unfinished():
                self._one_round()
        assert not self._unfinished()
        self.the_rows_are_what_the_model_says()
        self.the_api_lists_what_the_model_says()
        self.the_queue_is_the_line_of_the_model()

    def _one_round(self) -> None:
        self.time_passes()
        self.unstartable_jobs_fail()
        for job in self._with_status("paused"):
            self.ask_for(job, "resume")
        while self.jobs.startable():
            self.claim()
        for job in self._with_status(*HELD):
            self.finish((job.id, job.attempt))

    def _unfinished(self) -> list[Job]:
        return [job for job in self.jobs.values() if job.status not in ENDED]

    def _with_status(self, *statuses: str) -> list[Job]:
        return [job for job in self.jobs.values() if job.status in statuses]
