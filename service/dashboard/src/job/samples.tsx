/** Recorded responses, newest first, for people to read. */

import { useEffect, useState } from 'preact/hooks'
import { route, withParams } from '../address'
import { listSamples, type SampleFilter } from '../api/samples'
import { NEVER, usePoll } from '../hooks/usePoll'
import { Problem } from '../parts/problem'
import type { LiveJob } from './live'
import type { JobProps } from './props'
import { SampleCard } from './sample'
import { SampleFilters } from './sample-filters'

export function Samples({ job, live }: JobProps) {
  const { params } = route.value
  const filter = filterOf(params)
  const { data, problem, refresh } = usePoll(
    (signal) => listSamples(job.id, filter, signal),
    NEVER,
    [JSON.stringify(filter), live.epoch.value],
  )
  const shown = data?.samples ?? []
  const [fresh, seen] = useFresh(live, data)
  const look = () => (seen(), refresh())
  useEffect(() => {
    if (fresh && data !== null && shown.length === 0) look()
  }, [fresh, data])
  return (
    <section aria-label="Samples">
      <h2 class="hidden">Recorded responses</h2>
      <SampleFilters params={params} />
      <Problem error={problem} />
      {fresh > 0 && shown.length > 0 && !params.after && (
        <button type="button" class="fresh" onClick={look}>
          Show {fresh} new {fresh === 1 ? 'response' : 'responses'}
        </button>
      )}
      {data !== null && shown.length === 0 && <p class="empty">{none(params)}</p>}
      {shown.map((sample) => (
        <SampleCard key={sample.id} sample={sample} />
      ))}
      <nav class="pages" aria-label="Pages">
        {params.after && <a href={withParams({ after: '' })}>Newest</a>}
        {data?.next != null && <a href={withParams({ after: String(data.next) })}>Older</a>}
      </nav>
    </section>
  )
}

function none({ split, step, min_reward: min, max_reward: max }: Record<string, string>): string {
  return split || step || min || max ? 'No recorded responses match the filters.' : 'No responses recorded yet.'
}

/** The filter in the address; text that is not a number is ignored. */
function filterOf(params: Record<string, string>): SampleFilter {
  const number = (name: string) => (params[name] && Number.isFinite(Number(params[name])) ? Number(params[name]) : null)
  const { split } = params
  return {
    limit: 20,
    step: number('step'),
    after: number('after'),
    min_reward: number('min_reward'),
    max_reward: number('max_reward'),
    ...(split === 'train' || split === 'eval' ? { split } : {}),
  }
}

/** The number of responses recorded since the list was loaded, and a button that loads it again. */
function useFresh(live: LiveJob, answered: unknown): [number, () => void] {
  const [count, setCount] = useState(0)
  useEffect(
    () =>
      live.subscribe((events) => {
        const recorded = events.filter((event) => event.kind === 'sample')
        setCount((known) => recorded.reduce((sum, event) => sum + Number(event.data.count ?? 1), known))
      }),
    [live],
  )
  useEffect(() => setCount(0), [answered])
  return [count, () => setCount(0)]
}
