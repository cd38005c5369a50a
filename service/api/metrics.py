"""Metrics over HTTP."""

import math
from itertools import groupby
from typing import Annotated

from fastapi import Query

from hone.documents import MetricsRead, Series
from service.api.dependencies import Reader, SessionDep
from service.api.routing import Router
from service.domain.storable import LARGEST
from service.persistence import jobs, metrics
from service.persistence.tables import Metric

router = Router(prefix="/v1/jobs/{job_id}", tags=["metrics"])


def _series(name: str, points: list[Metric]) -> Series:
    return Series(
        name=name,
        steps=[point.step for point in points],
        values=[point.value if math.isfinite(point.value) else None for point in points],
        times=[point.created_at.timestamp() for point in points],
    )


@router.get("/metrics")
def get_metrics(
    job_id: str,
    identity: Reader,
    session: SessionDep,
    names: Annotated[
        str | None, Query(max_length=10_000, description="names, separated by commas; without it, all")
    ] = None,
    from_step: Annotated[int | None, Query(ge=0, le=LARGEST)] = None,
    to_step: Annotated[int | None, Query(ge=0, le=LARGEST)] = None,
) -> MetricsRead:
    """Show a job's metrics as whole series."""
    jobs.get(session, job_id, identity.visible_owner)
    selected = [name.strip() for name in names.split(",")] if names else None
    rows = metrics.series(session, job_id, selected, from_step, to_step)
    return MetricsRead(
        job_id=job_id, series=[_series(name, list(points)) for name, points in groupby(rows, key=lambda row: row.name)]
    )
