import type { ComponentChildren } from 'preact'
import { attempt, ran } from '../lib/attempts'
import { ago, moment, number, until } from '../lib/format'
import { keyMetric } from '../lib/groups'
import { parentJob } from '../lib/model'
import { href } from '../lib/route'
import { Badge } from '../parts/badge'
import { HealthBadge } from '../parts/health-badge'
import { JobLink } from '../parts/job-link'
import { ProgressBar } from '../parts/progress'
import { Title } from '../parts/title'
import { Actions } from './actions'
import { FailureBox } from './failure'
import { HealthNotes } from './health-notes'
import { Priority } from './priority'
import type { JobProps } from './props'

/** Name, status, progress, actions and facts of a job. */
export function Header({ job, live }: JobProps) {
  return (
    <header class="job">
      <div class="title">
        <Title>{job.name ?? job.id}</Title>
        <Badge status={job.status} />
        <HealthBadge notes={job.health_notes ?? []} />
        <Actions job={job} live={live} />
      </div>
      <ProgressBar job={job} />
      {job.failure && <FailureBox failure={job.failure} />}
      <HealthNotes notes={job.health_notes ?? []} />
      <Blockers ids={job.blocked_by} />
      {job.blocked_by.length === 0 && job.why != null && <p class="hint">Waiting: {job.why}.</p>}
      <Facts job={job} live={live} />
    </header>
  )
}

function Blockers({ ids }: { ids: string[] }) {
  if (ids.length === 0) return null
  return (
    <p class="hint">
      Waiting for {ids.length === 1 ? 'this job' : 'these jobs'} to succeed:{' '}
      {ids.map((id) => (
        <JobLink key={id} id={id} />
      ))}
    </p>
  )
}

function Facts({ job, live }: JobProps) {
  const now = Date.now()
  const metric = keyMetric(job.metrics)
  const speed = job.progress.tokens_per_second
  const tags = Object.entries(job.tags)
  return (
    <dl class="facts">
      <Fact name="ID">
        <span class="id">{job.id}</span>
      </Fact>
      <Fact name="Algorithm">{job.algorithm.toUpperCase()}</Fact>
      <Fact name="Model">
        <Model name={job.model} />
      </Fact>
      {metric && <Fact name={metric[0]}>{number(metric[1])}</Fact>}
      {speed != null && <Fact name="Tokens/s">{number(Math.round(speed))}</Fact>}
      {job.started_at && <Fact name="Running time">{ran(job, now)}</Fact>}
      {job.attempt > 0 && <Fact name="Attempt">{attempt(job)}</Fact>}
      {job.queue_position != null && job.blocked_by.length === 0 && (
        <Fact name="Queue position">
          <a href={href(['queue'])}>{job.queue_position}</a>
        </Fact>
      )}
      {job.estimated_start_at != null && (
        <Fact name="Estimated start">
          <time dateTime={job.estimated_start_at} title={moment(job.estimated_start_at)}>
            {until(job.estimated_start_at, now)}
          </time>
        </Fact>
      )}
      <Fact name="Priority">
        <Priority job={job} live={live} />
      </Fact>
      {job.retry_of && (
        <Fact name="Retry of">
          <JobLink id={job.retry_of} />
        </Fact>
      )}
      {job.clone_of && (
        <Fact name="Clone of">
          <JobLink id={job.clone_of} />
        </Fact>
      )}
      <Fact name="Submitted">
        <time dateTime={job.created_at} title={moment(job.created_at)}>
          {ago(job.created_at, now)}
        </time>
      </Fact>
      <Fact name="Owner">{job.owner}</Fact>
      {tags.length > 0 && <Fact name="Tags">{tags.map(([key, value]) => `${key}: ${value}`).join(', ')}</Fact>}
    </dl>
  )
}

function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  )
}

function Model({ name }: { name: string }) {
  const parent = parentJob(name)
  if (parent === null) return <>{name}</>
  const which = name.slice(`job:${parent}`.length)
  return (
    <>
      <JobLink id={parent} />
      {which}
    </>
  )
}
