/** How often and how long a job ran. */

import type { Job } from '../api/jobs'
import { between, duration } from './format'

type Run = Pick<Job, 'status' | 'attempt' | 'restarts' | 'ran_seconds' | 'started_at' | 'finished_at'>

const ON_A_WORKER = ['running', 'pausing', 'cancelling']

/** Running time: pauses and waits between attempts do not count. */
export function ran({ status, attempt, ran_seconds: before, started_at: start, finished_at: end }: Run, now: number): string {
  if (start === null) return duration(0)
  if (!ON_A_WORKER.includes(status)) return duration(before || between(start, end, now))
  if (attempt <= 1) return duration(between(start, null, now))
  return `${duration(before)} in earlier attempts`
}

/** The number of the attempt, and the restarts without progress. */
export function attempt({ attempt, restarts }: Run): string {
  if (restarts === 0) return String(attempt)
  return `${attempt} (${restarts === 1 ? '1 restart' : `${restarts} restarts`} since the last checkpoint)`
}
