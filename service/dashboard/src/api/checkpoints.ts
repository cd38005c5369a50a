/** Checkpoints: listed and downloaded. */

import { root } from '../root'
import { api, ask, body } from './client'
import type { components } from './schema'

export type Checkpoint = components['schemas']['CheckpointRead']

/** Newest first. */
export async function listCheckpoints(id: string, signal: AbortSignal): Promise<Checkpoint[]> {
  return (await body(api.GET('/v1/jobs/{job_id}/checkpoints', { params: { path: { job_id: id } }, signal }))).data
}

export interface Download {
  /** As the server names it. */
  filename: string
  content: ReadableStream<Uint8Array<ArrayBuffer>>
}

/** The model's files in a tar. A plain link could show neither progress nor a refusal. */
export async function downloadArchive(id: string, signal: AbortSignal): Promise<Download> {
  const url = new URL(`v1/checkpoints/${encodeURIComponent(id)}/archive`, root)
  const response = await ask(new Request(url, { signal }))
  const named = /filename="([^"]+)"/.exec(response.headers.get('content-disposition') ?? '')
  return { filename: named?.[1] ?? `${id}.tar`, content: response.body! }
}
