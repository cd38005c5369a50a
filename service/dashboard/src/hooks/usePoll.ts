import { useCallback, useEffect, useState } from 'preact/hooks'
import { Unreachable } from '../api/client'
import { pause } from '../lib/pause'

/** Seconds; for what is refreshed by events and not by the clock. */
export const NEVER = 3600

export interface Polled<T> {
  data: T | null
  /** The server's refusal; a lost connection is shown by the banner. */
  problem: Error | null
  /** Ask now. */
  refresh: () => void
}

/** Request every few seconds while the page is visible, and when `inputs` change. The last answer stays meanwhile. */
export function usePoll<T>(ask: (signal: AbortSignal) => Promise<T>, seconds: number, inputs: unknown[]): Polled<T> {
  const [data, setData] = useState<T | null>(null)
  const [problem, setProblem] = useState<Error | null>(null)
  const [asked, setAsked] = useState(0)
  useEffect(() => {
    const stop = new AbortController()
    const round = () => ask(stop.signal).then((answer) => (setData(() => answer), setProblem(null)))
    void repeat(round, seconds, stop.signal, setProblem)
    return () => stop.abort()
  }, [...inputs, asked])
  return { data, problem, refresh: useCallback(() => setAsked((count) => count + 1), []) }
}

async function repeat(
  round: () => Promise<unknown>,
  seconds: number,
  stop: AbortSignal,
  failed: (problem: Error) => void,
): Promise<void> {
  while (!stop.aborted) {
    await round().catch((problem: Error) => {
      if (!stop.aborted && !(problem instanceof Unreachable)) failed(problem)
    })
    await pause(seconds, stop)
    await visible(stop)
  }
}

/** Resolves at once while somebody can see the page, else when somebody can. */
function visible(stop: AbortSignal): Promise<void> {
  if (!document.hidden) return Promise.resolve()
  return new Promise((resolve) => {
    const look = () => document.hidden || resolve()
    document.addEventListener('visibilitychange', look, { signal: stop })
    stop.addEventListener('abort', () => resolve(), { once: true })
  })
}
