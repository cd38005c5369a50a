import type { Attempt, Delivery } from '../api/webhooks'
import { number, until } from './format'

/** `fine_tuning.job.failed` -> `failed`. */
export function shortEvent(name: string): string {
  return name.slice(name.lastIndexOf('.') + 1)
}

type DeliveryState = Pick<Delivery, 'status' | 'attempts' | 'next_at' | 'status_code' | 'error'>

/** "delivered, status 200"; "2 attempts, next in about 20 s: answered 500, not 2xx". */
export function deliveryResult({ status, attempts, next_at: next, status_code: code, error }: DeliveryState, now: number): string {
  if (status === 'delivered') return code === null ? 'delivered' : `delivered, status ${code}`
  const tried = attempts === 1 ? '1 attempt' : `${attempts} attempts`
  const why = error === null ? '' : `: ${error}`
  if (status === 'failed') return `failed after ${tried}${why}`
  const due = next === null ? '' : until(next, now)
  return attempts === 0 ? `pending, first attempt ${due}` : `${tried}, next ${due}${why}`
}

/** "status 204"; else why the attempt failed. */
export function attemptResult({ status_code: code, error }: Pick<Attempt, 'status_code' | 'error'>): string {
  return error ?? `status ${code}`
}

/** 0.0312 -> "31 ms", 10.004 -> "10 s". */
export function responseTime(seconds: number): string {
  const milliseconds = Math.round(seconds * 1000)
  return milliseconds < 1000 ? `${milliseconds} ms` : `${number(Math.round(seconds * 10) / 10)} s`
}

/** How many attempts the log lacks: they are in progress, their sender ended first, or they are too old. */
export function unrecorded({ attempts, attempt_log: log }: Pick<Delivery, 'attempts' | 'attempt_log'>): string {
  if (attempts === 0) return 'No attempts yet.'
  const missing = attempts - log.length
  return missing > 0 ? `No record of ${missing} of ${attempts} ${attempts === 1 ? 'attempt' : 'attempts'}.` : ''
}
