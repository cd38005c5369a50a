import { useState } from 'preact/hooks'
import { replace } from '../address'
import { listCheckpoints, type Checkpoint } from '../api/checkpoints'
import { deleteJob, type Job } from '../api/jobs'
import { NEVER, usePoll } from '../hooks/usePoll'
import { useRequest } from '../hooks/useRequest'
import { bytes } from '../lib/format'
import { href } from '../lib/route'
import { deletion } from '../lib/verbs'
import { Dialog } from '../parts/dialog'
import { OfferButton } from '../parts/offer'
import { Problem } from '../parts/problem'
import type { ActionProps } from './props'

/** Deletes a job after a confirmation that lists what is deleted. */
export function Delete({ job, refused }: ActionProps) {
  const [open, setOpen] = useState(false)
  return (
    <>
      <OfferButton offer={deletion(job.status)} refused={refused} onClick={() => setOpen(true)} />
      {open && <DeleteDialog job={job} close={() => setOpen(false)} />}
    </>
  )
}

function DeleteDialog({ job, close }: { job: Job; close: () => void }) {
  const { busy, problem, send } = useRequest()
  const checkpoints = usePoll((signal) => listCheckpoints(job.id, signal), NEVER, [job.id])
  const confirm = async () => {
    if (await send('delete', () => deleteJob(job.id))) replace(href(['jobs']))
  }
  return (
    <Dialog title="Delete this job?" close={close}>
      <p>This permanently deletes:</p>
      <ul class="points">
        {checkpoints.data?.length !== 0 && <li>{sizes(checkpoints.data)}</li>}
        <li>its metrics, samples, events and logs</li>
        <li>its spec</li>
      </ul>
      <p class="muted">Jobs that start from its checkpoints are not deleted; the checkpoints they need are kept.</p>
      <Problem error={problem ?? checkpoints.problem} />
      <div class="buttons">
        <button type="button" onClick={close}>
          Keep the job
        </button>
        <button type="button" class="danger" disabled={busy !== ''} onClick={() => void confirm()}>
          {busy ? 'Deleting…' : 'Delete the job'}
        </button>
      </div>
    </Dialog>
  )
}

function sizes(checkpoints: Checkpoint[] | null): string {
  if (checkpoints === null) return 'its checkpoints'
  const { length } = checkpoints
  const size = bytes(checkpoints.reduce((sum, checkpoint) => sum + checkpoint.bytes, 0))
  return length === 1 ? `its checkpoint (${size})` : `its ${length} checkpoints (${size})`
}
