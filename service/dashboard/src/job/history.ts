/** The latest events of some kinds, extended at both ends: by the stream at the newest, on request at the oldest. */

import { useEffect, useState } from 'preact/hooks'
import { listEvents, type EventKind, type JobEvent } from '../api/events'
import { merged } from '../lib/events'
import type { LiveJob } from './live'

/** How many sequence numbers are looked through at once. */
const SPAN = 2000

interface Loaded {
  events: JobEvent[]
  /** Everything after this number is there. */
  from: number
}

export interface History extends Loaded {
  loading: boolean
  problem: Error | null
  earlier: () => void
}

export function useHistory(live: LiveJob, kinds: EventKind[]): History {
  const [loaded, setLoaded] = useState<Loaded | null>(null)
  const [problem, setProblem] = useState<Error | null>(null)
  const [loading, setLoading] = useState(true)
  const id = live.job.value!.id
  const load = (before: number, upTo: number, signal: AbortSignal) => {
    setLoading(true)
    return latest(id, kinds, before, upTo, signal)
      .then((loaded) => setLoaded((known) => joined(known, loaded)))
      .catch((error: Error) => signal.aborted || setProblem(error))
      .finally(() => signal.aborted || setLoading(false))
  }
  useEffect(() => {
    const stop = new AbortController()
    setLoaded(null)
    const unsubscribe = live.subscribe((events) => {
      const wanted = events.filter((event) => kinds.includes(event.kind))
      if (wanted.length) setLoaded((known) => joined(known, { events: wanted, from: Infinity }))
    })
    // The document's version may lag behind events that came before we subscribed: no upper end.
    void load(live.job.value!.version, Infinity, stop.signal)
    return () => (unsubscribe(), stop.abort())
  }, [live, live.epoch.value, kinds.join()])
  const earlier = () => loaded && void load(loaded.from, loaded.from, new AbortController().signal)
  return { events: loaded?.events ?? [], from: loaded?.from ?? Infinity, loading, problem, earlier }
}

function joined(known: Loaded | null, loaded: Loaded): Loaded {
  return { events: merged(known?.events ?? [], loaded.events), from: Math.min(known?.from ?? Infinity, loaded.from) }
}

/** The events up to `upTo`, from as far back before `before` as it takes to find some. */
async function latest(
  id: string,
  kinds: EventKind[],
  before: number,
  upTo: number,
  signal: AbortSignal,
): Promise<Loaded> {
  let from = before
  for (let span = SPAN; ; span *= 4) {
    from = Math.max(0, from - span)
    const events = await listEvents(id, kinds, from, upTo, signal)
    if (events.length > 0 || from === 0) return { events, from }
  }
}
