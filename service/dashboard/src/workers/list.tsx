/** Workers: machine, devices, versions, jobs; and drains. */

import { role } from '../api/session'
import { listWorkers, setDraining, type Worker } from '../api/workers'
import { usePoll } from '../hooks/usePoll'
import { useRequest } from '../hooks/useRequest'
import { useTitle } from '../hooks/useTitle'
import { ago, bytes, moment } from '../lib/format'
import { devices, versions, workerStatus } from '../lib/workers'
import { JobLink } from '../parts/job-link'
import { Problem } from '../parts/problem'
import { Title } from '../parts/title'

const SECONDS = 3

export function WorkerList() {
  useTitle('Workers')
  const { data, problem, refresh } = usePoll(listWorkers, SECONDS, [])
  return (
    <main class="view">
      <div class="heading">
        <Title>Workers</Title>
      </div>
      <Problem error={problem} />
      {data !== null && problem === null && <WorkerTable workers={data} changed={refresh} />}
    </main>
  )
}

function WorkerTable({ workers, changed }: { workers: Worker[]; changed: () => void }) {
  if (workers.length === 0) return <p class="empty">No workers. Queued jobs start when a worker is running.</p>
  const now = Date.now()
  return (
    <table class="workers folds">
      <thead>
        <tr>
          <th>Worker</th>
          <th>Status</th>
          <th>Devices</th>
          <th>Jobs</th>
          <th>Versions</th>
          <th class="number">Last seen</th>
          <th>
            <span class="hidden">Drain</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {workers.map((worker) => (
          <Row key={worker.id} worker={worker} now={now} changed={changed} />
        ))}
      </tbody>
    </table>
  )
}

interface RowProps {
  worker: Worker
  now: number
  changed: () => void
}

function Row({ worker, now, changed }: RowProps) {
  return (
    <tr>
      <td class="name">
        <b>{worker.host}</b>
        <span class="note">process {worker.pid}</span>
      </td>
      <td>
        <span class={`badge ${workerStatus(worker)}`}>{workerStatus(worker)}</span>
      </td>
      <td data-label="devices">
        {devices(worker).map((device) => (
          <span key={device} class="entry">
            {device}
          </span>
        ))}
        {worker.memory_bytes > 0 && <span class="note">{bytes(worker.memory_bytes)} of memory</span>}
      </td>
      <td data-label="jobs">
        <Jobs worker={worker} now={now} />
      </td>
      <td class="versions">{versions(worker)}</td>
      <td class="number" data-label="last seen">
        <time dateTime={worker.beat_at} title={moment(worker.beat_at)}>
          {ago(worker.beat_at, now)}
        </time>
      </td>
      <td class="number">
        <Drain worker={worker} changed={changed} />
      </td>
    </tr>
  )
}

function Jobs({ worker: { alive, slots, jobs }, now }: { worker: Worker; now: number }) {
  return (
    <>
      {jobs.map(({ id, attempt, since }) => (
        <span key={id} class="entry">
          <JobLink id={id} />
          <span class="note">
            attempt {attempt}
            {since !== null && `, started ${ago(since, now)}`}
            {!alive && ', when the worker died'}
          </span>
        </span>
      ))}
      {alive && (
        <span class="note">
          {jobs.length} of {slots} {slots === 1 ? 'slot' : 'slots'} in use
        </span>
      )}
    </>
  )
}

/** For admins. */
function Drain({ worker, changed }: { worker: Worker; changed: () => void }) {
  const { busy, problem, send } = useRequest()
  if (!worker.alive || role.value !== 'admin') return null
  const { draining } = worker
  const ask = async () => {
    if (await send('drain', () => setDraining(worker.id, !draining))) changed()
  }
  return (
    <>
      <button
        type="button"
        aria-disabled={busy !== ''}
        aria-label={`${draining ? 'Undrain' : 'Drain'} ${worker.host}, process ${worker.pid}`}
        title={draining ? 'lets the worker claim jobs again' : 'the worker finishes its jobs and claims no new ones'}
        onClick={() => void ask()}
      >
        {draining ? 'Undrain' : 'Drain'}
      </button>
      <Problem error={problem} />
    </>
  )
}
