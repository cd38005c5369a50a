import { useEffect, useState } from 'preact/hooks'
import { setPriority } from '../api/jobs'
import { useRequest } from '../hooks/useRequest'
import { waits } from '../lib/verbs'
import { Problem } from '../parts/problem'
import type { TabProps } from './page'

/** Its place in the queue; can be changed while that matters. */
export function Priority({ job, live }: TabProps) {
  const saved = String(job.priority)
  const [typed, setTyped] = useState(saved)
  const { busy, problem, send } = useRequest()
  useEffect(() => setTyped(saved), [saved])
  if (!waits(job.status)) return <>{saved}</>
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
