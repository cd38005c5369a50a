/** From the address to a view. */

import type { VNode } from 'preact'
import { route } from './address'
import { key } from './api/session'
import { href } from './lib/route'
import { JobPage } from './job/page'
import { JobList } from './jobs/list'
import { QueueView } from './queue/view'
import { WorkerList } from './workers/list'
import { Frame } from './frame'
import { LoginPage } from './login'

export function App() {
  const { path } = route.value
  if (path[0] === 'login') return <LoginPage token={path[1] ?? null} />
  if (key.value === null) return <LoginPage token={null} />
  return (
    <Frame>
      <View path={path} />
    </Frame>
  )
}

const LISTS: Record<string, () => VNode> = {
  jobs: () => <JobList />,
  queue: () => <QueueView />,
  workers: () => <WorkerList />,
}

function View({ path }: { path: string[] }) {
  const [noun = 'jobs', id, ...rest] = path
  if (id === undefined && noun in LISTS) return LISTS[noun]!()
  if (id === undefined || noun !== 'jobs' || rest.length) return <Nowhere />
  return <JobPage key={id} id={id} />
}

function Nowhere() {
  return (
    <main class="view">
      <h1>There is nothing here</h1>
      <p>
        The address {location.hash} leads nowhere. <a href={href(['jobs'])}>All jobs</a>
      </p>
    </main>
  )
}
