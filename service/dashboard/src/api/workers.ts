/** Workers, and whether the service is ready. */

import { api, body, Refusal } from './client'
import type { components } from './schema'

export type Worker = components['schemas']['WorkerRead']
export type Readiness = components['schemas']['Readiness']

export async function listWorkers(signal: AbortSignal): Promise<Worker[]> {
  return (await body(api.GET('/v1/workers', { signal }))).data
}

/** Let a worker claim nothing more, or let it claim again. */
export async function setDraining(id: string, draining: boolean): Promise<void> {
  await api.POST(`/v1/workers/{worker_id}/${draining ? 'drain' : 'undrain'}`, { params: { path: { worker_id: id } } })
}

const UNAVAILABLE: Readiness = {
  status: 'unavailable',
  database: false,
  broker: false,
  storage: false,
  dispatcher: false,
  workers: 0,
  oldest_queued_seconds: null,
}

/** Without its database the service answers 503. */
export async function getReadiness(signal: AbortSignal): Promise<Readiness> {
  try {
    return await body(api.GET('/readyz', { signal }))
  } catch (error) {
    if (error instanceof Refusal && error.status === 503) return UNAVAILABLE
    throw error
  }
}
