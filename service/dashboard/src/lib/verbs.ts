/** The actions that each status allows, and why the others are not available. */

import type { JobStatus } from '../api/jobs'

/** A button: its action, its label, and why the action is not available ('' when it is). */
export interface Offer<Verb extends string> {
  verb: Verb
  label: string
  reason: string
}

const PAUSE: Offer<'pause'> = { verb: 'pause', label: 'Pause', reason: '' }

const PAUSE_OR_RESUME: Partial<Record<JobStatus, Offer<'pause' | 'resume'>>> = {
  queued: PAUSE,
  running: PAUSE,
  pausing: { verb: 'pause', label: 'Pausing…', reason: 'The job pauses after the current step, once its state is saved.' },
  paused: { verb: 'resume', label: 'Resume', reason: '' },
  cancelling: { ...PAUSE, reason: 'A job that is being cancelled cannot be paused.' },
}

/** Pause or resume, whichever fits; null for a job that has ended. */
export function pauseOrResume(status: JobStatus): Offer<'pause' | 'resume'> | null {
  return PAUSE_OR_RESUME[status] ?? null
}

/** Cancel; null for a job that has ended. */
export function cancellation(status: JobStatus): Offer<'cancel'> | null {
  if (isOver(status)) return null
  if (status !== 'cancelling') return { verb: 'cancel', label: 'Cancel', reason: '' }
  return { verb: 'cancel', label: 'Cancelling…', reason: 'The job stops after the current step.' }
}

/** Delete; a job that has not ended must be cancelled first. */
export function deletion(status: JobStatus): Offer<'delete'> {
  const reason = isOver(status) ? '' : `A ${status} job cannot be deleted: cancel it first.`
  return { verb: 'delete', label: 'Delete', reason }
}

/** Whether a new job can start from the last checkpoint of this one. */
export function canRetry(status: JobStatus): boolean {
  return status === 'failed' || status === 'cancelled'
}

/** Whether the priority still matters: the job has to be claimed. */
export function canSetPriority(status: JobStatus): boolean {
  return status === 'queued' || status === 'paused'
}

/** Whether the status is final. */
export function isOver(status: JobStatus): boolean {
  return status === 'succeeded' || status === 'failed' || status === 'cancelled'
}
