import { useRef, useState } from 'preact/hooks'

export interface Request {
  /** What is being asked, '' while nothing is. */
  busy: string
  /** Why it came to nothing. */
  problem: Error | null
  /** Ask, unless something is being asked already. Whether it went well. */
  send: (name: string, ask: () => Promise<void>) => Promise<boolean>
}

/** One request at a time, and what came of it. */
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
