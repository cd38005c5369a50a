/** One job: what it is, how it stands, and everything it has said. */

import { useEffect, useState } from 'preact/hooks'
import { route } from '../address'
import type { Job } from '../api/jobs'
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

/** What each tab is given. */
export interface TabProps {
  job: Job
  live: LiveJob
}

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

function Tabs({ job, live }: TabProps) {
  const wanted = route.value.params.tab ?? 'charts'
  const tab: Tab = wanted in TABS ? (wanted as Tab) : 'charts'
  const View = TABS[tab]
  return (
    <>
      <nav class="tabs" aria-label="Views of this job">
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

/** Each tab begins with its defaults: the filters of one mean nothing to another. */
function tabAddress(tab: Tab): string {
  return href(route.value.path, { tab: tab === 'charts' ? '' : tab })
}

