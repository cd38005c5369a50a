"""Recorded responses over HTTP."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from service.api.dependencies import Reader, SessionDep
from service.persistence import jobs, samples
from service.schemas import Page, SampleRead

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["samples"])


@router.get("/samples")
def list_samples(
    job_id: str,
    identity: Reader,
    session: SessionDep,
    step: Annotated[int | None, Query(ge=0)] = None,
    split: Literal["train", "eval"] | None = None,
    min_reward: float | None = None,
    max_reward: float | None = None,
    after: Annotated[int | None, Query(description="the last id already seen")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
) -> Page[SampleRead]:
    """Responses, newest first."""
    jobs.get(session, job_id, identity.sees)
    found = samples.page(
        session,
        job_id,
        step=step,
        split=split,
        min_reward=min_reward,
        max_reward=max_reward,
        after=after,
        limit=limit + 1,
    )
    return Page.of([SampleRead.model_validate(sample) for sample in found], limit)
