import { useEffect, useState } from 'preact/hooks'
import { setPriority } from '../api/jobs'
import { useRequest } from '../hooks/useRequest'
import { canSetPriority } from '../lib/verbs'
import { Problem } from '../parts/problem'
import type { JobProps } from './props'

/** Can be changed until the job runs. */
export function Priority({ job, live }: JobProps) {
  const saved = String(job.priority)
  const [typed, setTyped] = useState(saved)
  const { busy, problem, send } = useRequest()
  useEffect(() => setTyped(saved), [saved])
  if (!canSetPriority(job.status)) return <>{saved}</>
  const save = (event: SubmitEvent) => {
    event.preventDefault()
    void send('save', async () => live.show(await setPriority(job.id, Number(typed))))
  }
  return (
    <form class="priority" onSubmit={save} noValidate>
      <input
        type="number"
        aria-label="Priority"
        title="-100 to 100; higher runs first"
        value={typed}
        aria-invalid={problem !== null}
        onInput={(event) => setTyped(event.currentTarget.value)}
      />
      {typed !== saved && typed !== '' && <button>{busy ? 'Saving…' : 'Save'}</button>}
      <Problem error={problem} />
    </form>
  )
}
