/** What happened to the job, newest first. */

import { replace, route, withParams } from '../address'
import type { EventKind, JobEvent } from '../api/events'
import { sentence } from '../lib/events'
import { clock, moment } from '../lib/format'
import { Earlier } from '../parts/earlier'
import { Problem } from '../parts/problem'
import { useHistory } from './history'
import type { TabProps } from './page'

const KINDS: EventKind[] = ['status', 'checkpoint', 'preview', 'sample', 'log', 'metrics']
const USUAL = 'status,checkpoint'

export function Events({ live }: TabProps) {
  const kinds = chosen(route.value.params.kinds ?? USUAL)
  const history = useHistory(live, kinds)
  return (
    <section aria-label="Events">
      <Kinds kinds={kinds} />
      <Problem error={history.problem} />
      <ol class="events" reversed>
        {history.events.toReversed().map((event) => (
          <Line key={event.seq} event={event} />
        ))}
      </ol>
      {history.events.length === 0 && !history.loading && <p class="empty">No events of these kinds yet.</p>}
      <Earlier history={history} />
    </section>
  )
}

function chosen(text: string): EventKind[] {
  const names = text.split(',')
  return KINDS.filter((kind) => names.includes(kind))
}

function Kinds({ kinds }: { kinds: EventKind[] }) {
  const toggle = (kind: EventKind) => {
    const next = KINDS.filter((each) => kinds.includes(each) !== (each === kind))
    if (next.length) replace(withParams({ kinds: next.join() === USUAL ? '' : next.join() }))
  }
  return (
    <fieldset class="controls">
      <legend class="hidden">Kinds of event</legend>
      {KINDS.map((kind) => (
        <label key={kind}>
          <input type="checkbox" checked={kinds.includes(kind)} onChange={() => toggle(kind)} />
          {kind}
        </label>
      ))}
    </fieldset>
  )
}

function Line({ event }: { event: JobEvent }) {
  return (
    <li class={event.kind}>
      <time dateTime={event.created_at} title={moment(event.created_at)}>
        {clock(event.created_at)}
      </time>
      <span class="kind">{event.kind}</span>
      <span class="step">{event.step === null ? '' : `step ${event.step}`}</span>
      <span class="sentence">{sentence(event)}</span>
    </li>
  )
}
