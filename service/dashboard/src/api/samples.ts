/** Recorded responses. */

import { api, body } from './client'
import type { operations, components } from './schema'

export type Sample = components['schemas']['SampleRead']
export type SampleFilter = NonNullable<operations['list_samples_v1_jobs__job_id__samples_get']['parameters']['query']>

export interface SamplePage {
  samples: Sample[]
  next: number | null
}

/** Newest first. */
export async function listSamples(id: string, filter: SampleFilter, signal: AbortSignal): Promise<SamplePage> {
  const params = { path: { job_id: id }, query: filter }
  const page = await body(api.GET('/v1/jobs/{job_id}/samples', { params, signal }))
  return { samples: page.data, next: page.has_more ? Number(page.last_id) : null }
}
