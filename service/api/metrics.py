"""Metrics over HTTP."""

import json
from typing import Annotated

from fastapi import Depends, Query
from fastapi.responses import Response

from hone.documents import MetricsRead
from hone.documents.metrics import MOST_POINTS
from hone.errors import Invalid
from service.api.dependencies import Reader, SessionDep
from service.api.routing import Router
from service.domain.storable import LARGEST
from service.persistence import jobs, metrics
from service.persistence.metrics import Place, Selection, SeriesJson

router = Router(prefix="/v1/jobs/{job_id}", tags=["metrics"])
Step = Annotated[int | None, Query(ge=0, le=LARGEST)]


async def _selection(
    names: Annotated[
        str | None, Query(max_length=10_000, description="names, separated by commas; without it, all")
    ] = None,
    from_step: Step = None,
    to_step: Step = None,
    after: Annotated[str | None, Query(max_length=1000, description="`next` of the answer before")] = None,
) -> Selection:
    selected = [name.strip() for name in names.split(",")] if names else None
    return Selection(selected, from_step, to_step, None if after is None else _place(after))


@router.get("/metrics", response_model=MetricsRead)
def get_metrics(
    job_id: str,
    identity: Reader,
    session: SessionDep,
    which: Annotated[Selection, Depends(_selection)],
    limit: Annotated[int, Query(ge=1, le=MOST_POINTS, description="points in all series together")] = MOST_POINTS,
) -> Response:
    """Show a job's metrics as series, by name and step. `next` is null once all points were sent."""
    jobs.get(session, job_id, identity.visible_owner)
    series, has_more = metrics.series(session, job_id, which, limit)
    following = f"{series[-1].name}@{series[-1].last_step}" if has_more else None
    content = f'{{"object":"metrics","job_id":{json.dumps(job_id)},"series":[{",".join(map(_document, series))}],'
    return Response(f'{content}"next":{json.dumps(following)}}}', media_type="application/json")


def _document(series: SeriesJson) -> str:
    name = json.dumps(series.name)
    return f'{{"name":{name},"steps":{series.steps},"values":{series.values},"times":{series.times}}}'


def _place(cursor: str) -> Place:
    name, _, step = cursor.rpartition("@")
    if not name or not (step.isascii() and step.isdigit() and int(step) <= LARGEST):
        raise Invalid(f"{cursor!r} is not the `next` of an answer", param="after", code="invalid_cursor")
    return Place(name, int(step))
