/** The state of the service in the header: readiness, and its workers. */

import { getReadiness, listWorkers, type Readiness, type Worker } from './api/workers'
import { usePoll } from './hooks/usePoll'
import { duration } from './lib/format'
import { JobLink } from './parts/job-link'

const SECONDS = 5

export function Health() {
  const ready = usePoll(getReadiness, SECONDS, []).data
  const workers = usePoll(listWorkers, SECONDS, []).data ?? []
  if (ready === null) return <span class="health" />
  return (
    <details class="health">
      <summary>
        <span class={`dot ${ready.status}`} aria-hidden="true" />
        {sentence(ready)}
      </summary>
      <WorkerTable workers={workers} />
    </details>
  )
}

function sentence(ready: Readiness): string {
  if (!ready.database) return 'database unavailable'
  const workers = ready.workers === 1 ? '1 worker' : `${ready.workers || 'no'} workers`
  const parts = [ready.status === 'ready' ? 'ready' : 'degraded', workers]
  if (!ready.dispatcher) parts.push('dispatcher unavailable')
  if (!ready.broker) parts.push('broker unavailable')
  if (!ready.storage) parts.push('storage unavailable')
  const waited = ready.oldest_queued_seconds
  if (waited !== null && waited >= 10) parts.push(`oldest queued job: ${duration(waited)}`)
  return parts.join(' · ')
}

function WorkerTable({ workers }: { workers: Worker[] }) {
  if (workers.length === 0) return <p class="sheet">No workers. Queued jobs start when a worker is running.</p>
  return (
    <ul class="sheet">
      {workers.map((worker) => (
        <li key={worker.id}>
          <b>{worker.host}</b> <span class="muted">
            process {worker.pid} · {worker.devices.join(', ') || 'cpu'}
            {!worker.alive && ' · dead'}
            {worker.alive && worker.draining && ' · draining'}
          </span>
          <br />
          {worker.alive && worker.jobs.length === 0 && <span class="muted">idle</span>}
          {worker.jobs.map(({ id }) => (
            <JobLink key={id} id={id} />
          ))}
        </li>
      ))}
    </ul>
  )
}
