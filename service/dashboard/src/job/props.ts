/** The props of the parts of a job's page. */

import type { Job } from '../api/jobs'
import type { LiveJob } from './live'

export interface JobProps {
  job: Job
  live: LiveJob
}

export interface ActionProps extends JobProps {
  /** Called with the reason when a button does nothing. */
  refused: (reason: string) => void
}
