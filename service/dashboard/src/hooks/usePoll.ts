import { useCallback, useEffect, useState } from 'preact/hooks'
import { Unreachable } from '../api/client'
import { pause } from '../lib/pause'

/** For what changes when something happened, not by the clock: seconds. */
export const NEVER = 3600

export interface Polled<T> {
  data: T | null
  /** What the server refused; a lost connection is the banner's business. */
  problem: Error | null
  /** Ask now. */
  refresh: () => void
}

/** Ask every few seconds while the page is visible, and again when `inputs` change. Keeps the last answer meanwhile. */
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
