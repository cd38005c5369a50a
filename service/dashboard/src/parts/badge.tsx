import type { JobStatus } from '../api/jobs'

const MARKS: Record<JobStatus, string> = {
  queued: '○',
  running: '●',
  pausing: '◑',
  paused: '‖',
  cancelling: '◐',
  succeeded: '✓',
  failed: '✕',
  cancelled: '–',
}

/** A job's status as word, mark and colour. */
export function Badge({ status }: { status: JobStatus }) {
  return (
    <span class={`badge ${status}`}>
      <span aria-hidden="true">{MARKS[status]}</span> {status}
    </span>
  )
}
