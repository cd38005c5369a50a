/** Jobs over HTTP. */

import { api, body } from './client'
import type { components, paths } from './schema'

export type Job = components['schemas']['JobRead']
/** Without its spec, as lists show it. */
export type ListedJob = components['schemas']['JobSummary']
export type JobStatus = components['schemas']['JobStatus']
export type AlgorithmType = NonNullable<NonNullable<paths['/v1/jobs']['get']['parameters']['query']>['algorithm']>
export type Progress = components['schemas']['Progress']
export type Failure = components['schemas']['Failure']
export type HealthNote = components['schemas']['HealthNote']

export interface JobFilter {
  status?: JobStatus
  algorithm?: AlgorithmType
  after?: string
}

export interface JobPage {
  jobs: ListedJob[]
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

export type Verb = 'cancel' | 'pause' | 'resume'

/** Request an action; the job may still be on its way to the new status in the answer. */
export async function askJob(id: string, verb: Verb): Promise<Job> {
  return body(api.POST(`/v1/jobs/{job_id}/${verb}`, { params: { path: { job_id: id } } }))
}

/** Create a job that starts from the last checkpoint of this one. The same key creates no second one. */
export async function retryJob(id: string, idempotencyKey: string): Promise<Job> {
  const params = { path: { job_id: id }, header: { 'idempotency-key': idempotencyKey } }
  return body(api.POST('/v1/jobs/{job_id}/retry', { params }))
}

/** A new job of the same spec with `changes` merged into it. The same key creates no second one. */
export async function cloneJob(id: string, changes: Record<string, unknown>, idempotencyKey: string): Promise<Job> {
  const params = { path: { job_id: id }, header: { 'idempotency-key': idempotencyKey } }
  return body(api.POST('/v1/jobs/{job_id}/clone', { params, body: changes }))
}

export async function setPriority(id: string, priority: number): Promise<Job> {
  return body(api.PATCH('/v1/jobs/{job_id}', { params: { path: { job_id: id } }, body: { priority } }))
}

export async function deleteJob(id: string): Promise<void> {
  await api.DELETE('/v1/jobs/{job_id}', { params: { path: { job_id: id } } })
}
