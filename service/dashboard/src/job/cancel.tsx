import { useState } from 'preact/hooks'
import { askJob, type Job } from '../api/jobs'
import { useRequest } from '../hooks/useRequest'
import { cancellation, isOver } from '../lib/verbs'
import { Dialog } from '../parts/dialog'
import { OfferButton } from '../parts/offer'
import { Problem } from '../parts/problem'
import type { VerbProps } from './actions'

/** Stop a job, once asked whether that is meant. The dialog outlives the button: it says why it came too late. */
export function Cancel({ job, live, refused }: VerbProps) {
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
              Keep it
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
  if (isOver(status)) return `It has ended meanwhile: ${status}.`
  if (status === 'queued') return 'It does not run: it never will.'
  if (status === 'paused') return 'It will not go on. Its last checkpoint, metrics and samples stay.'
  return 'It stops within a step. Its last checkpoint, metrics and samples stay.'
}
