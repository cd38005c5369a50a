/** What can be done with a job, as it stands. */

import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { go } from '../address'
import { askJob, retryJob, type Job } from '../api/jobs'
import { useOnce } from '../hooks/useOnce'
import { useRequest } from '../hooks/useRequest'
import { href } from '../lib/route'
import { canRetry, hold } from '../lib/verbs'
import { OfferButton } from '../parts/offer'
import { Problem } from '../parts/problem'
import { Cancel } from './cancel'
import { Clone } from './clone'
import { Delete } from './delete'
import type { LiveJob } from './live'

export interface VerbProps {
  job: Job
  live: LiveJob
  /** Told why a button does nothing. */
  refused: (reason: string) => void
}

export function Actions({ job, live }: { job: Job; live: LiveJob }) {
  const [reason, setReason] = useState('')
  const { busy, problem, send } = useRequest()
  const group = useKeptFocus()
  useEffect(() => setReason(''), [job.status])
  const refused = (why: string) => setReason(why)
  const act = async (name: string, ask: () => Promise<void>) => {
    setReason('')
    if (!(await send(name, ask))) await live.refresh()
  }
  return (
    <>
      <div class="actions" role="group" aria-label="What can be done" ref={group}>
        <Hold job={job} live={live} refused={refused} busy={busy} act={act} />
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

interface Asking {
  busy: string
  act: (name: string, ask: () => Promise<void>) => Promise<void>
}

const ASKED = { pause: 'Pausing…', resume: 'Resuming…' }

/** One button for both, so that it keeps the focus: from the click on it says what was asked for. */
function Hold({ job, live, refused, busy, act }: VerbProps & Asking) {
  const offer = hold(job.status)
  if (offer === null) return null
  const { verb } = offer
  return (
    <OfferButton
      offer={busy === verb ? { ...offer, label: ASKED[verb] } : offer}
      busy={busy !== ''}
      refused={refused}
      onClick={() => void act(verb, async () => live.show(await askJob(job.id, verb)))}
    />
  )
}

/** A new job that goes on where this one ended; the page goes there. */
function Retry({ job, busy, act }: { job: Job } & Asking) {
  const once = useOnce()
  const retry = async () => go(href(['jobs', (await once((key) => retryJob(job.id, key))).id]))
  const label = busy === 'retry' ? 'Retrying…' : 'Retry'
  return (
    <button
      type="button"
      aria-disabled={busy !== ''}
      title="a new job, which goes on from the last checkpoint"
      onClick={() => void act('retry', retry)}
    >
      {label}
    </button>
  )
}

/** A group of buttons that keeps the focus when the one that has it goes away. */
function useKeptFocus() {
  const group = useRef<HTMLDivElement>(null)
  const had = group.current?.contains(document.activeElement) ?? false
  useLayoutEffect(() => {
    if (had && document.activeElement === document.body) group.current?.querySelector('button')?.focus()
  })
  return group
}
