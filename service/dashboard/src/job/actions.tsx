/** The actions that a job allows in its status. */

import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { go } from '../address'
import { askJob, retryJob, type Job } from '../api/jobs'
import { useIdempotencyKey } from '../hooks/useIdempotencyKey'
import { useRequest } from '../hooks/useRequest'
import { href } from '../lib/route'
import { canRetry, pauseOrResume } from '../lib/verbs'
import { OfferButton } from '../parts/offer'
import { Problem } from '../parts/problem'
import { Cancel } from './cancel'
import { Clone } from './clone'
import { Delete } from './delete'
import type { ActionProps, JobProps } from './props'

export function Actions({ job, live }: JobProps) {
  const [reason, setReason] = useState('')
  const { busy, problem, send } = useRequest()
  const group = useGroupFocus()
  useEffect(() => setReason(''), [job.status])
  const refused = (why: string) => setReason(why)
  const act = async (name: string, ask: () => Promise<void>) => {
    setReason('')
    if (!(await send(name, ask))) await live.refresh()
  }
  return (
    <>
      <div class="actions" role="group" aria-label="Actions" ref={group}>
        <PauseResume job={job} live={live} refused={refused} busy={busy} act={act} />
        {canRetry(job.status) && <Retry job={job} busy={busy} act={act} />}
        <Cancel job={job} live={live} refused={refused} />
        <Clone job={job} />
        <Delete job={job} live={live} refused={refused} />
      </div>
      <p class="hidden" role="status">{`The job is ${job.status}.`}</p>
      <p class="reason" role="status">
        {reason}
      </p>
      <Problem error={problem} />
    </>
  )
}

interface RequestProps {
  busy: string
  act: (name: string, ask: () => Promise<void>) => Promise<void>
}

const IN_PROGRESS = { pause: 'Pausing…', resume: 'Resuming…' }

/** One button for both, so that it keeps the focus; from the click on its label says what was requested. */
function PauseResume({ job, live, refused, busy, act }: ActionProps & RequestProps) {
  const offer = pauseOrResume(job.status)
  if (offer === null) return null
  const { verb } = offer
  return (
    <OfferButton
      offer={busy === verb ? { ...offer, label: IN_PROGRESS[verb] } : offer}
      busy={busy !== ''}
      refused={refused}
      onClick={() => void act(verb, async () => live.show(await askJob(job.id, verb)))}
    />
  )
}

/** Creates a job that starts from the last checkpoint of this one, and shows it. */
function Retry({ job, busy, act }: { job: Job } & RequestProps) {
  const withKey = useIdempotencyKey()
  const retry = async () => go(href(['jobs', (await withKey((key) => retryJob(job.id, key))).id]))
  const label = busy === 'retry' ? 'Retrying…' : 'Retry'
  return (
    <button
      type="button"
      aria-disabled={busy !== ''}
      title="starts a new job from the last checkpoint"
      onClick={() => void act('retry', retry)}
    >
      {label}
    </button>
  )
}

/** A group of buttons that keeps the focus when the focused one is removed. */
function useGroupFocus() {
  const group = useRef<HTMLDivElement>(null)
  const had = group.current?.contains(document.activeElement) ?? false
  useLayoutEffect(() => {
    if (had && document.activeElement === document.body) group.current?.querySelector('button')?.focus()
  })
  return group
}
