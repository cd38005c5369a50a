/** Queued jobs, in the order of their claims. */

import { api, body } from './client'
import type { components } from './schema'

export type Queue = components['schemas']['QueueRead']
export type Queued = components['schemas']['QueuedRead']

/** The queue after a position. */
export async function getQueue(after: number, signal: AbortSignal): Promise<Queue> {
  return body(api.GET('/v1/queue', { params: { query: { after, limit: 50 } }, signal }))
}
