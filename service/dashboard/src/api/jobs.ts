/** Jobs over HTTP. */

import { api, body } from './client'
import type { components } from './schema'

export type Job = components['schemas']['JobRead']
export type JobStatus = components['schemas']['JobStatus']
export type Progress = components['schemas']['Progress']
export type Failure = components['schemas']['Failure']

export interface JobFilter {
  status?: JobStatus
  algorithm?: string
  after?: string
}

export interface JobPage {
  jobs: Job[]
  /** What `after` asks for the next page; null on the last. */
  next: string | null
}

/** Newest first. */
export async function listJobs(filter: JobFilter, signal: AbortSignal): Promise<JobPage> {
  const page = await body(api.GET('/v1/jobs', { params: { query: { ...filter, limit: 25 } }, signal }))
  return { jobs: page.data, next: page.has_more ? String(page.last_id) : null }
}

export async function getJob(id: string, signal: AbortSignal): Promise<Job> {
  return body(api.GET('/v1/jobs/{job_id}', { params: { path: { job_id: id } }, signal }))
}

export async function cancelJob(id: string): Promise<Job> {
  return body(api.POST('/v1/jobs/{job_id}/cancel', { params: { path: { job_id: id } } }))
}

/** The states that nothing leaves. */
export function isOver(status: JobStatus): boolean {
  return status === 'succeeded' || status === 'failed' || status === 'cancelled'
}
