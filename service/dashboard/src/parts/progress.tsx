import type { ListedJob } from '../api/jobs'
import { duration } from '../lib/format'

/** Progress of a job, as a bar and in words. */
export function ProgressBar({ job }: { job: ListedJob }) {
  const { percent, step, total_steps: total, eta_seconds: eta, phase } = job.progress
  const running = job.status === 'running'
  const shown = Math.min(100, Math.max(0, percent))
  return (
    <div class={`progress ${job.status}`}>
      <div
        class="bar"
        role="progressbar"
        aria-label={`Progress of ${job.name ?? job.id}`}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={Math.round(shown)}
      >
        <div style={{ width: `${shown}%` }} />
      </div>
      <span class="words">
        <b>{Math.floor(shown)} %</b> {step} / {total ?? '?'}
        {running && eta != null && <> · {duration(eta)} left</>}
        {running && phase !== 'training' && <> · {phase}</>}
      </span>
    </div>
  )
}
