/** The trainer's output and Hone's own log lines; stays scrolled to the end while the reader is there. */

import { useEffect, useLayoutEffect, useRef } from 'preact/hooks'
import { replace, route, withParams } from '../address'
import type { JobEvent } from '../api/events'
import { clock, moment } from '../lib/format'
import { Problem } from '../parts/problem'
import { Earlier } from './earlier'
import { useHistory } from './history'
import type { JobProps } from './props'

const STREAMS = ['stdout', 'stderr', 'hone']
/** This close to the end counts as at the end. */
const NEAR_END_PIXELS = 24

export function Logs({ live }: JobProps) {
  const { stream = '', follow = 'yes' } = route.value.params
  const history = useHistory(live, ['log'])
  const lines = history.events.filter((event) => !stream || event.data.stream === stream)
  const box = useTail(follow === 'yes', lines.at(-1)?.seq)
  return (
    <section aria-label="Logs">
      <Controls stream={stream} follow={follow === 'yes'} />
      <Problem error={history.problem} />
      <div class="log" ref={box} tabIndex={0} role="log" aria-label="Log lines" aria-live="off">
        <Earlier history={history} />
        {lines.map((event) => (
          <LogLine key={event.seq} event={event} />
        ))}
        {lines.length === 0 && !history.loading && <p class="empty">No log lines yet.</p>}
      </div>
    </section>
  )
}

/** Scroll to the end when something comes; scrolling up stops it, scrolling to the end starts it again. */
function useTail(following: boolean, newest: number | undefined) {
  const box = useRef<HTMLDivElement>(null)
  useLayoutEffect(() => {
    if (following && box.current) box.current.scrollTop = box.current.scrollHeight
  }, [following, newest])
  useEffect(() => {
    const element = box.current!
    const scrolled = () => {
      const atEnd = element.scrollHeight - element.scrollTop - element.clientHeight < NEAR_END_PIXELS
      if (atEnd !== following) replace(withParams({ follow: atEnd ? '' : 'no' }))
    }
    element.addEventListener('scrollend', scrolled)
    return () => element.removeEventListener('scrollend', scrolled)
  }, [following])
  return box
}

function Controls({ stream, follow }: { stream: string; follow: boolean }) {
  return (
    <form class="controls" aria-label="Log filters" onSubmit={(event) => event.preventDefault()}>
      <label>
        Stream
        <select value={stream} onChange={(event) => replace(withParams({ stream: event.currentTarget.value }))}>
          <option value="">all</option>
          {STREAMS.map((name) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </label>
      <label>
        <input
          type="checkbox"
          checked={follow}
          onChange={(event) => replace(withParams({ follow: event.currentTarget.checked ? '' : 'no' }))}
        />
        Follow
      </label>
    </form>
  )
}

function LogLine({ event }: { event: JobEvent }) {
  const { stream, line, level } = event.data as { stream?: string; line?: string; level?: string }
  return (
    <p class={`${stream ?? ''} ${level ?? ''}`}>
      <time dateTime={event.created_at} title={moment(event.created_at)}>
        {clock(event.created_at)}
      </time>
      <span class="stream">{stream}</span>
      <span class="text">{line}</span>
    </p>
  )
}
