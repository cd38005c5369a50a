/** The series of a job. */

import type { Series } from '../lib/series'
import { api, body } from './client'

/** Every series of a job, by name. */
export async function getSeries(id: string, signal: AbortSignal): Promise<Map<string, Series>> {
  const answer = await body(api.GET('/v1/jobs/{job_id}/metrics', { params: { path: { job_id: id } }, signal }))
  return new Map(answer.series.map((series) => [series.name, { ...series, edits: 0 }]))
}
