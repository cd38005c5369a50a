import type { Attempt, Delivery } from '../api/webhooks'
import { number, until } from './format'

/** `fine_tuning.job.failed` -> `failed`. */
export function shortEvent(name: string): string {
  return name.slice(name.lastIndexOf('.') + 1)
}

type Tried = Pick<Delivery, 'status' | 'attempts' | 'next_at' | 'status_code' | 'error'>

/** What became of a message: "delivered, answer 200"; "tried 2 times, again in about 20 s: answer 500". */
export function fate({ status, attempts, next_at: next, status_code: code, error }: Tried, now: number): string {
  if (status === 'delivered') return code === null ? 'delivered' : `delivered, answer ${code}`
  const tried = attempts === 1 ? 'tried once' : `tried ${attempts} times`
  const why = error === null ? '' : `: ${error}`
  if (status === 'failed') return `given up, ${tried}${why}`
  const again = next === null ? '' : until(next, now)
  return attempts === 0 ? `to be sent ${again}` : `${tried}, again ${again}${why}`
}

/** "answer 204"; else why the attempt counts as failed. */
export function outcome({ status_code: code, error }: Pick<Attempt, 'status_code' | 'error'>): string {
  return error ?? `answer ${code}`
}

/** 0.0312 -> "31 ms", 10.004 -> "10 s". */
export function took(seconds: number): string {
  const milliseconds = Math.round(seconds * 1000)
  return milliseconds < 1000 ? `${milliseconds} ms` : `${number(Math.round(seconds * 10) / 10)} s`
}

/** How many attempts the log lacks: one is under way, its sender ended before it did, or it was too long ago. */
export function unrecorded({ attempts, attempt_log: log }: Pick<Delivery, 'attempts' | 'attempt_log'>): string {
  if (attempts === 0) return 'Not yet tried.'
  const lacking = attempts - log.length
  return lacking > 0 ? `No record of ${lacking} of ${attempts} ${attempts === 1 ? 'attempt' : 'attempts'}.` : ''
}
