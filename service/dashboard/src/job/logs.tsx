/** What the trainer printed and what was noted about it; stays at the end while the reader is there. */

import { useEffect, useLayoutEffect, useRef } from 'preact/hooks'
import { replace, route, withParams } from '../address'
import type { JobEvent } from '../api/events'
import { clock, moment } from '../lib/format'
import { Earlier } from '../parts/earlier'
import { Problem } from '../parts/problem'
import { useHistory } from './history'
import type { TabProps } from './page'

const STREAMS = ['stdout', 'stderr', 'hone']
/** So near to the end, in pixels, counts as there. */
const NEAR = 24

export function Logs({ live }: TabProps) {
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
          <Line key={event.seq} event={event} />
        ))}
        {lines.length === 0 && !history.loading && <p class="empty">No lines yet.</p>}
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
      const atEnd = element.scrollHeight - element.scrollTop - element.clientHeight < NEAR
      if (atEnd !== following) replace(withParams({ follow: atEnd ? '' : 'no' }))
    }
    element.addEventListener('scrollend', scrolled)
    return () => element.removeEventListener('scrollend', scrolled)
  }, [following])
  return box
}

function Controls({ stream, follow }: { stream: string; follow: boolean }) {
  return (
    <form class="controls" aria-label="Lines" onSubmit={(event) => event.preventDefault()}>
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

function Line({ event }: { event: JobEvent }) {
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
