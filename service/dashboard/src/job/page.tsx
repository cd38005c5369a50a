/** One job: header, and a tab for each kind of record. */

import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { route } from '../address'
import { useTitle } from '../hooks/useTitle'
import { href } from '../lib/route'
import { Problem } from '../parts/problem'
import { Charts } from './charts'
import { Checkpoints } from './checkpoints'
import { Events } from './events'
import { Header } from './header'
import { LiveJob } from './live'
import { Logs } from './logs'
import { Preview } from './preview'
import type { JobProps } from './props'
import { Samples } from './samples'
import { Spec } from './spec'

const TABS = {
  charts: Charts,
  samples: Samples,
  data: Preview,
  events: Events,
  logs: Logs,
  checkpoints: Checkpoints,
  spec: Spec,
}
type Tab = keyof typeof TABS

export function JobPage({ id }: { id: string }) {
  const [live, setLive] = useState<LiveJob | null>(null)
  useEffect(() => {
    const mine = new LiveJob(id)
    setLive(mine)
    return () => mine.close()
  }, [id])
  return (
    <main class="view">
      <a class="up" href={href(['jobs'])}>
        ← Jobs
      </a>
      {live !== null && <Shown live={live} />}
    </main>
  )
}

function Shown({ live }: { live: LiveJob }) {
  const job = live.job.value
  useTitle(job === null ? '' : (job.name ?? job.id))
  return (
    <>
      <Problem error={live.problem.value} />
      {job !== null && <Header job={job} live={live} />}
      {job !== null && <Tabs job={job} live={live} />}
    </>
  )
}

function Tabs({ job, live }: JobProps) {
  const wanted = route.value.params.tab ?? 'charts'
  const tab: Tab = wanted in TABS ? (wanted as Tab) : 'charts'
  const View = TABS[tab]
  const tabs = useRef<HTMLElement>(null)
  useLayoutEffect(() => showCurrent(tabs.current!), [tab])
  return (
    <>
      <nav class="tabs" aria-label="Views of this job" ref={tabs}>
        {(Object.keys(TABS) as Tab[]).map((name) => (
          <a key={name} href={tabAddress(name)} aria-current={name === tab ? 'page' : undefined}>
            {name}
          </a>
        ))}
      </nav>
      <View job={job} live={live} />
    </>
  )
}

/** On a narrow screen the row of tabs scrolls: the current one must be in it. */
function showCurrent(tabs: HTMLElement): void {
  const current = tabs.querySelector<HTMLElement>('[aria-current]')!
  const end = current.offsetLeft + current.offsetWidth - tabs.offsetLeft
  tabs.scrollLeft = Math.max(0, end - tabs.clientWidth)
}

/** Each tab begins with its defaults, because the filters of one tab do not apply to another. */
function tabAddress(tab: Tab): string {
  return href(route.value.path, { tab: tab === 'charts' ? '' : tab })
}
