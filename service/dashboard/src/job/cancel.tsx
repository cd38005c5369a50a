import { useRef, useState } from 'preact/hooks'
import { cancelJob, isOver, type Job } from '../api/jobs'
import { Problem } from '../parts/problem'

interface CancelProps {
  job: Job
  cancelled: () => void
}

/** Stop a job, once asked whether that is meant. The dialog outlives the button: it says why it came too late. */
export function Cancel({ job, cancelled }: CancelProps) {
  const dialog = useRef<HTMLDialogElement>(null)
  const [problem, setProblem] = useState<Error | null>(null)
  const [busy, setBusy] = useState(false)
  const confirm = async () => {
    setBusy(true)
    try {
      await cancelJob(job.id)
      dialog.current?.close()
    } catch (error) {
      setProblem(error as Error)
    }
    setBusy(false)
    cancelled()
  }
  const open = () => {
    setProblem(null)
    dialog.current?.showModal()
  }
  return (
    <>
      {!isOver(job.status) && (
        <button type="button" class="cancel" disabled={job.status === 'cancelling'} onClick={open}>
          {job.status === 'cancelling' ? 'Cancelling…' : 'Cancel'}
        </button>
      )}
      <dialog ref={dialog} aria-labelledby="cancel-title">
        <h2 id="cancel-title">Cancel this job?</h2>
        <p>{consequence(job)}</p>
        <Problem error={problem} />
        <div class="buttons">
          <button type="button" onClick={() => dialog.current?.close()}>
            Keep it
          </button>
          <button type="button" class="danger" disabled={busy || isOver(job.status)} onClick={() => void confirm()}>
            Cancel the job
          </button>
        </div>
      </dialog>
    </>
  )
}

function consequence(job: Job): string {
  if (isOver(job.status)) return `It has ended meanwhile: ${job.status}.`
  if (job.status === 'queued') return 'It has not started: it never will.'
  return 'It stops within a step. Its last checkpoint, metrics and samples stay.'
}
