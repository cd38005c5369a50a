import { useState } from 'preact/hooks'
import { askJob, type Job } from '../api/jobs'
import { useRequest } from '../hooks/useRequest'
import { cancellation, isOver } from '../lib/verbs'
import { Dialog } from '../parts/dialog'
import { OfferButton } from '../parts/offer'
import { Problem } from '../parts/problem'
import type { ActionProps } from './props'

/** Stops a job after a confirmation. The dialog outlives the button, to say that the job ended first. */
export function Cancel({ job, live, refused }: ActionProps) {
  const [open, setOpen] = useState(false)
  const { busy, problem, send } = useRequest()
  const offer = cancellation(job.status)
  const confirm = async () => {
    const asked = await send('cancel', async () => live.show(await askJob(job.id, 'cancel')))
    if (asked) setOpen(false)
    else void live.refresh()
  }
  return (
    <>
      {offer && <OfferButton offer={offer} refused={refused} onClick={() => setOpen(true)} />}
      {open && (
        <Dialog title="Cancel this job?" close={() => setOpen(false)}>
          <p>{consequence(job)}</p>
          <Problem error={problem} />
          <div class="buttons">
            <button type="button" onClick={() => setOpen(false)}>
              Keep the job
            </button>
            <button
              type="button"
              class="danger"
              disabled={busy !== '' || isOver(job.status)}
              onClick={() => void confirm()}
            >
              Cancel the job
            </button>
          </div>
        </Dialog>
      )}
    </>
  )
}

function consequence({ status }: Job): string {
  if (isOver(status)) return `The job has already ended: ${status}.`
  if (status === 'queued') return 'It has not started and will not run.'
  if (status === 'paused') return 'It will not be resumed. Its last checkpoint, metrics and samples are kept.'
  return 'Training stops after the current step. The last checkpoint, metrics and samples are kept.'
}
