/** How often and how long a job ran. */

import type { Job } from '../api/jobs'
import { between, duration } from './format'

type Run = Pick<Job, 'status' | 'attempt' | 'restarts' | 'ran_seconds' | 'started_at' | 'finished_at'>

const HELD = ['running', 'pausing', 'cancelling']

/** Running time: pauses and waits between attempts do not count. */
export function ran({ status, attempt, ran_seconds: before, started_at: start, finished_at: end }: Run, now: number): string {
  if (start === null) return duration(0)
  if (!HELD.includes(status)) return duration(before || between(start, end, now))
  if (attempt <= 1) return duration(between(start, null, now))
  return `${duration(before)} before this attempt`
}

/** Its number, and what of it was bad luck. */
export function attempt({ attempt, restarts }: Run): string {
  if (restarts === 0) return String(attempt)
  return `${attempt} (lost ${restarts === 1 ? 'once' : `${restarts} times`} since the last checkpoint)`
}
