import type { Delivery } from '../api/webhooks'
import { until } from './format'

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
