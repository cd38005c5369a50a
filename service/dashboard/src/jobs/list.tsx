/** All jobs, newest first. */

import { route, withParams } from '../address'
import { listJobs, type JobFilter, type JobPage } from '../api/jobs'
import { usePoll } from '../hooks/usePoll'
import { useTitle } from '../hooks/useTitle'
import { Problem } from '../parts/problem'
import { Title } from '../parts/title'
import { Empty } from './empty'
import { Filters } from './filters'
import { Row } from './row'

const SECONDS = 2

export function JobList() {
  useTitle('Jobs')
  const { status, algorithm, after } = route.value.params
  const filter = { ...(status && { status }), ...(algorithm && { algorithm }), ...(after && { after }) } as JobFilter
  const { data, problem } = usePoll((signal) => listJobs(filter, signal), SECONDS, [status, algorithm, after])
  return (
    <main class="view">
      <div class="heading">
        <Title>Jobs</Title>
        <Filters status={status ?? ''} algorithm={algorithm ?? ''} />
      </div>
      <Problem error={problem} />
      {data !== null && problem === null && <JobTable page={data} filtered={Boolean(status || algorithm || after)} />}
      {data !== null && <Pages next={data.next} after={after} />}
    </main>
  )
}

function JobTable({ page, filtered }: { page: JobPage; filtered: boolean }) {
  if (page.jobs.length === 0) return <Empty filtered={filtered} />
  const now = Date.now()
  return (
    <table class="jobs">
      <thead>
        <tr>
          <th>Job</th>
          <th>Status</th>
          <th>Algorithm</th>
          <th>Model</th>
          <th>Progress</th>
          <th class="number">Metric</th>
          <th class="number">Age</th>
        </tr>
      </thead>
      <tbody>
        {page.jobs.map((job) => (
          <Row key={job.id} job={job} now={now} />
        ))}
      </tbody>
    </table>
  )
}

function Pages({ next, after }: { next: string | null; after: string | undefined }) {
  if (!next && !after) return null
  return (
    <nav class="pages" aria-label="Pages">
      {after && <a href={withParams({ after: '' })}>Newest</a>}
      {next && <a href={withParams({ after: next })}>Older</a>}
    </nav>
  )
}
