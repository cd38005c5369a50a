"""Recorded responses over HTTP."""

from typing import Annotated, Literal

from fastapi import Depends, Query

from hone.documents import Page, SampleRead
from service.api.dependencies import Reader, SessionDep
from service.api.routing import Router
from service.domain.storable import LARGEST
from service.persistence import jobs, samples
from service.persistence.samples import SampleFilter
from service.persistence.tables import Sample

router = Router(prefix="/v1/jobs/{job_id}", tags=["samples"])


async def _filter(
    step: Annotated[int | None, Query(ge=0, le=LARGEST)] = None,
    split: Literal["train", "eval"] | None = None,
    min_reward: Annotated[float | None, Query(allow_inf_nan=False)] = None,
    max_reward: Annotated[float | None, Query(allow_inf_nan=False)] = None,
) -> SampleFilter:
    return SampleFilter(step, split, min_reward, max_reward)


@router.get("/samples")
def list_samples(
    job_id: str,
    identity: Reader,
    session: SessionDep,
    filters: Annotated[SampleFilter, Depends(_filter)],
    after: Annotated[int | None, Query(ge=0, le=LARGEST, description="last id already seen")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
) -> Page[SampleRead]:
    """List recorded responses, newest first."""
    jobs.get(session, job_id, identity.visible_owner)
    rows = samples.page(session, job_id, filters, after, limit + 1)
    return Page.of([_document(sample) for sample in rows], limit)


def _document(sample: Sample) -> SampleRead:
    return SampleRead(
        id=sample.id,
        job_id=sample.job_id,
        step=sample.step,
        split=sample.split,
        prompt=sample.prompt,
        response=sample.response,
        answer=sample.answer,
        reward=sample.reward,
        rewards=sample.rewards,
        tokens=sample.tokens,
        truncated=sample.truncated,
        created_at=sample.created_at,
    )
