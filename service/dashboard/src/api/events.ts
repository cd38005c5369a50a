/** The ordered sequence of a job, paged. */

import { api, body } from './client'
import type { components } from './schema'

export type JobEvent = components['schemas']['EventRead']
export type EventKind = JobEvent['kind']

/** Events of some kinds whose number lies in (after, upTo], oldest first. */
export async function listEvents(
  id: string,
  kinds: EventKind[],
  after: number,
  upTo: number,
  signal: AbortSignal,
): Promise<JobEvent[]> {
  const events: JobEvent[] = []
  for (let last = after, more = true; more && last < upTo; ) {
    const query = { after: last, limit: 1000, kind: kinds }
    const page = await body(api.GET('/v1/jobs/{job_id}/events', { params: { path: { job_id: id }, query }, signal }))
    events.push(...page.data.filter((event) => event.seq <= upTo))
    more = page.has_more
    last = Number(page.last_id ?? upTo)
  }
  return events
}
