/** From the address to a view. */

import type { VNode } from 'preact'
import { route } from './address'
import { session } from './api/session'
import { href } from './lib/route'
import { JobPage } from './job/page'
import { JobList } from './jobs/list'
import { QueueView } from './queue/view'
import { WebhookList } from './webhooks/list'
import { WebhookLog } from './webhooks/log'
import { WorkerList } from './workers/list'
import { Frame } from './frame'
import { LoginPage, Waiting } from './login'

export function App() {
  const { path } = route.value
  if (path[0] === 'login') return <LoginPage token={path[1] ?? null} />
  if (session.value === undefined) return <Waiting />
  if (session.value === null) return <LoginPage token={null} />
  return (
    <Frame>
      <View path={path} />
    </Frame>
  )
}

const LISTS = new Map<string, () => VNode>([
  ['jobs', () => <JobList />],
  ['queue', () => <QueueView />],
  ['workers', () => <WorkerList />],
  ['webhooks', () => <WebhookList />],
])
const DETAILS = new Map<string, (id: string) => VNode>([
  ['jobs', (id) => <JobPage key={id} id={id} />],
  ['webhooks', (id) => <WebhookLog key={id} id={id} />],
])

function View({ path }: { path: string[] }) {
  const [noun = 'jobs', id, ...rest] = path
  if (rest.length) return <NotFound />
  if (id === undefined) return LISTS.get(noun)?.() ?? <NotFound />
  return DETAILS.get(noun)?.(id) ?? <NotFound />
}

function NotFound() {
  return (
    <main class="view">
      <h1>Page not found</h1>
      <p>
        There is no page at {location.hash}. <a href={href(['jobs'])}>All jobs</a>
      </p>
    </main>
  )
}
