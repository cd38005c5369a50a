import { useRef, useState } from 'preact/hooks'

export interface Request {
  /** The name of the request in progress, '' without one. */
  busy: string
  /** Why the last request failed. */
  problem: Error | null
  /** Send, unless a request is in progress; resolves to whether it succeeded. */
  send: (name: string, ask: () => Promise<void>) => Promise<boolean>
}

/** One request at a time, and its result. */
export function useRequest(): Request {
  const [busy, setBusy] = useState('')
  const [problem, setProblem] = useState<Error | null>(null)
  const asking = useRef(false) // two clicks may come before the state has changed
  const send = async (name: string, ask: () => Promise<void>) => {
    if (asking.current) return false
    asking.current = true
    setBusy(name)
    setProblem(null)
    return ask()
      .then(() => true)
      .catch((error: Error) => (setProblem(error), false))
      .finally(() => ((asking.current = false), setBusy('')))
  }
  return { busy, problem, send }
}
