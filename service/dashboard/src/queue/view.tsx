/** Queued jobs in the order of their claims, and why each is not running yet. */

import { route, withParams } from '../address'
import { getQueue, type Queue, type Queued } from '../api/queue'
import { usePoll } from '../hooks/usePoll'
import { useTitle } from '../hooks/useTitle'
import { ago, moment, until } from '../lib/format'
import { usage, isJobId, splitAtJobIds } from '../lib/queue'
import { href } from '../lib/route'
import { JobLink } from '../parts/job-link'
import { Problem } from '../parts/problem'
import { Title } from '../parts/title'

const SECONDS = 3

export function QueueView() {
  useTitle('Queue')
  const after = Number(route.value.params.after) || 0
  const { data, problem } = usePoll((signal) => getQueue(after, signal), SECONDS, [after])
  return (
    <main class="view">
      <div class="heading">
        <Title>Queue</Title>
        {data !== null && <p class="muted">{usage(data)}</p>}
      </div>
      <Problem error={problem} />
      {data !== null && problem === null && <QueueTable queue={data} />}
      {data !== null && <Pages queue={data} after={after} />}
    </main>
  )
}

function QueueTable({ queue }: { queue: Queue }) {
  if (queue.data.length === 0) return <p class="empty">No queued jobs.</p>
  const now = Date.now()
  return (
    <table class="queue folds">
      <thead>
        <tr>
          <th class="number">Position</th>
          <th>Job</th>
          <th>Waiting for</th>
          <th>Estimated start</th>
          <th class="number">Priority</th>
          <th>Owner</th>
          <th class="number">Submitted</th>
        </tr>
      </thead>
      <tbody>
        {queue.data.map((job) => (
          <QueueRow key={job.id} job={job} now={now} />
        ))}
      </tbody>
    </table>
  )
}

function QueueRow({ job, now }: { job: Queued; now: number }) {
  const { estimated_start_at: start } = job
  return (
    <tr>
      <td class="number" data-label="position">
        {job.position}
      </td>
      <td class="name">
        <a href={href(['jobs', job.id])}>{job.name ?? job.id}</a>
        <span class="note">
          {job.algorithm.toUpperCase()}
          {job.gpus > 0 && ` · ${job.gpus} GPU${job.gpus === 1 ? '' : 's'}`}
        </span>
      </td>
      <td class="why">
        {splitAtJobIds(job.why).map((part) => (isJobId(part) ? <JobLink key={part} id={part} /> : part))}
      </td>
      <td data-label="estimated start">
        {start == null ? 'unknown' : <time dateTime={start} title={moment(start)}>{until(start, now)}</time>}
      </td>
      <td class="number" data-label="priority">
        {job.priority}
      </td>
      <td data-label="owner">{job.owner}</td>
      <td class="number" data-label="submitted">
        <time dateTime={job.created_at} title={moment(job.created_at)}>
          {ago(job.created_at, now)}
        </time>
      </td>
    </tr>
  )
}

function Pages({ queue, after }: { queue: Queue; after: number }) {
  const last = queue.data.at(-1)
  return (
    <nav class="pages" aria-label="Pages">
      {after > 0 && <a href={withParams({ after: '' })}>First page</a>}
      {queue.has_more && last && <a href={withParams({ after: String(last.position) })}>Next</a>}
    </nav>
  )
}
