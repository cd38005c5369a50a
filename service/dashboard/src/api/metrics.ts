/** The series of a job. */

import type { Series } from '../lib/series'
import { api, body } from './client'

/** Every series of a job, by name, in as many answers as that takes. */
export async function getSeries(id: string, signal: AbortSignal): Promise<Map<string, Series>> {
  const whole = new Map<string, Series>()
  let after: string | undefined
  do {
    const query = after === undefined ? {} : { after }
    const params = { path: { job_id: id }, query }
    const answer = await body(api.GET('/v1/jobs/{job_id}/metrics', { params, signal }))
    for (const { name, steps, values, times } of answer.series) {
      const begun = whole.get(name)
      if (begun === undefined) whole.set(name, { name, steps, values, times, edits: 0 })
      else {
        begun.steps = begun.steps.concat(steps)
        begun.values = begun.values.concat(values)
        begun.times = begun.times.concat(times)
      }
    }
    after = answer.next ?? undefined
  } while (after !== undefined)
  return whole
}
