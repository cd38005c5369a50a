/** What happened to the job, newest first. */

import { replace, route, withParams } from '../address'
import type { EventKind, JobEvent } from '../api/events'
import { sentence } from '../lib/events'
import { clock, moment } from '../lib/format'
import { Problem } from '../parts/problem'
import { Earlier } from './earlier'
import { useHistory } from './history'
import type { JobProps } from './props'

const KINDS: EventKind[] = ['status', 'checkpoint', 'note', 'loaded', 'preview', 'sample', 'log', 'metrics']
const DEFAULT = 'status,checkpoint,note'

export function Events({ live }: JobProps) {
  const kinds = chosen(route.value.params.kinds ?? DEFAULT)
  const history = useHistory(live, kinds)
  return (
    <section aria-label="Events">
      <Kinds kinds={kinds} />
      <Problem error={history.problem} />
      <ol class="events" reversed>
        {history.events.toReversed().map((event) => (
          <EventRow key={event.seq} event={event} />
        ))}
      </ol>
      {history.events.length === 0 && !history.loading && <p class="empty">No events of the selected kinds yet.</p>}
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
    if (next.length) replace(withParams({ kinds: next.join() === DEFAULT ? '' : next.join() }))
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

function EventRow({ event }: { event: JobEvent }) {
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
