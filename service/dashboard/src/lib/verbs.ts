/** What can be asked of a job in each status, and why something cannot. */

import type { JobStatus } from '../api/jobs'

/** A button: what it does, what it says, and why it does nothing now ('' where it does). */
export interface Offer<Verb extends string> {
  verb: Verb
  label: string
  reason: string
}

const PAUSE: Offer<'pause'> = { verb: 'pause', label: 'Pause', reason: '' }

const HOLD: Partial<Record<JobStatus, Offer<'pause' | 'resume'>>> = {
  queued: PAUSE,
  running: PAUSE,
  pausing: { verb: 'pause', label: 'Pausing…', reason: 'It pauses as soon as its step has ended and its state is saved.' },
  paused: { verb: 'resume', label: 'Resume', reason: '' },
  cancelling: { ...PAUSE, reason: 'It is being cancelled: it cannot be paused any more.' },
}

/** Pause or resume, whichever fits; null for a job that has ended. */
export function hold(status: JobStatus): Offer<'pause' | 'resume'> | null {
  return HOLD[status] ?? null
}

/** Cancel, null for a job that has ended. */
export function cancellation(status: JobStatus): Offer<'cancel'> | null {
  if (isOver(status)) return null
  if (status !== 'cancelling') return { verb: 'cancel', label: 'Cancel', reason: '' }
  return { verb: 'cancel', label: 'Cancelling…', reason: 'It stops as soon as its step has ended.' }
}

/** Delete; what is not over must be cancelled first. */
export function deletion(status: JobStatus): Offer<'delete'> {
  const reason = isOver(status) ? '' : `A ${status} job cannot be deleted: cancel it first.`
  return { verb: 'delete', label: 'Delete', reason }
}

/** Whether a new job can go on from where this one has come to. */
export function canRetry(status: JobStatus): boolean {
  return status === 'failed' || status === 'cancelled'
}

/** Whether its place in the queue still matters. */
export function waits(status: JobStatus): boolean {
  return status === 'queued' || status === 'paused'
}

/** The states that nothing leaves. */
export function isOver(status: JobStatus): boolean {
  return status === 'succeeded' || status === 'failed' || status === 'cancelled'
}
