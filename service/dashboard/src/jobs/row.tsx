import type { ListedJob } from '../api/jobs'
import { ago, moment, number, until } from '../lib/format'
import { keyMetric } from '../lib/groups'
import { shortModel } from '../lib/model'
import { href } from '../lib/route'
import { Badge } from '../parts/badge'
import { HealthBadge } from '../parts/health-badge'
import { ProgressBar } from '../parts/progress'

/** One job of the list. */
export function Row({ job, now }: { job: ListedJob; now: number }) {
  const metric = keyMetric(job.metrics)
  return (
    <tr>
      <td class="name">
        <a href={href(['jobs', job.id])}>{job.name ?? job.id}</a>
        {job.name !== null && <span class="id">{job.id}</span>}
      </td>
      <td class="status">
        <Badge status={job.status} />
        <HealthBadge notes={job.health_notes ?? []} />
        {job.blocked_by.length > 0 && <span class="note">waiting for {count(job.blocked_by.length)}</span>}
        <QueuePosition job={job} now={now} />
        {job.waits_for === 'capacity' && <span class="note">{job.why}</span>}
        {job.failure && <span class="note">{job.failure.category}</span>}
        {job.attempt > 1 && <span class="note">attempt {job.attempt}</span>}
      </td>
      <td class="algorithm">{job.algorithm.toUpperCase()}</td>
      <td class="model" title={job.model}>
        {shortModel(job.model)}
      </td>
      <td class="progress-cell">
        <ProgressBar job={job} />
      </td>
      <td class="number metric">
        {metric ? (
          <>
            <b>{number(metric[1])}</b> <span class="note">{metric[0]}</span>
          </>
        ) : (
          '–'
        )}
      </td>
      <td class="number age">
        <time dateTime={job.created_at} title={moment(job.created_at)}>
          {ago(job.created_at, now)}
        </time>
      </td>
    </tr>
  )
}

/** A job that depends on an unfinished one has no position yet. */
function QueuePosition({ job, now }: { job: ListedJob; now: number }) {
  if (job.queue_position == null || job.blocked_by.length > 0) return null
  return (
    <span class="note">
      queue position {job.queue_position}
      {job.estimated_start_at != null && `, ${until(job.estimated_start_at, now)}`}
    </span>
  )
}

function count(parents: number): string {
  return parents === 1 ? '1 job' : `${parents} jobs`
}
