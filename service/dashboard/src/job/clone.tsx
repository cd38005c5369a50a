/** A new job with the same spec, some fields changed. */

import { useState } from 'preact/hooks'
import { go } from '../address'
import { Refusal } from '../api/client'
import { cloneJob, type Job } from '../api/jobs'
import { useIdempotencyKey } from '../hooks/useIdempotencyKey'
import { useRequest } from '../hooks/useRequest'
import { changesOf, FIELDS, typedFrom, type Field } from '../lib/changes'
import { href } from '../lib/route'
import { Dialog } from '../parts/dialog'
import { Problem } from '../parts/problem'

const EXAMPLE = 'optimizer.schedule: constant\ncheckpoint: {every: 50}'

export function Clone({ job }: { job: Job }) {
  const [open, setOpen] = useState(false)
  return (
    <>
      <button type="button" onClick={() => setOpen(true)}>
        Clone
      </button>
      {open && <CloneDialog job={job} close={() => setOpen(false)} />}
    </>
  )
}

function CloneDialog({ job, close }: { job: Job; close: () => void }) {
  const [typed, setTyped] = useState(() => typedFrom(job.spec))
  const [further, setFurther] = useState('')
  const { busy, problem, send } = useRequest()
  const withKey = useIdempotencyKey()
  const submit = (event: SubmitEvent) => {
    event.preventDefault()
    void send('clone', async () => {
      const changes = await changesOf(job.spec, typed, further)
      const created = await withKey((key) => cloneJob(job.id, changes, key))
      go(href(['jobs', created.id]))
    })
  }
  const wrong = problem instanceof Refusal ? problem.param : null
  return (
    <Dialog title="Clone this job" close={close}>
      <form class="clone" onSubmit={submit}>
        <p class="muted">Creates a job with the same spec, which starts at step 0. An empty field takes its default.</p>
        <div class="fields">
          {FIELDS.map((field) => (
            <FieldInput
              key={field.path}
              field={field}
              value={typed[field.path]!}
              wrong={wrong === field.path}
              set={(value) => setTyped({ ...typed, [field.path]: value })}
            />
          ))}
        </div>
        <label>
          Other changes, as YAML or JSON; null resets a field to its default
          <textarea
            rows={4}
            spellcheck={false}
            placeholder={EXAMPLE}
            value={further}
            onInput={(event) => setFurther(event.currentTarget.value)}
          />
        </label>
        <Problem error={problem} />
        <div class="buttons">
          <button type="button" onClick={close}>
            Close
          </button>
          <button class="primary" disabled={busy !== ''}>
            {busy ? 'Cloning…' : 'Clone the job'}
          </button>
        </div>
      </form>
    </Dialog>
  )
}

interface InputProps {
  field: Field
  value: string
  wrong: boolean
  set: (value: string) => void
}

/** Numbers are typed as text, so that `1e-5` can be; the API refuses what is not a number. */
function FieldInput({ field, value, wrong, set }: InputProps) {
  return (
    <label>
      {field.label}
      <input
        type="text"
        inputMode={field.numeric ? 'decimal' : 'text'}
        autoComplete="off"
        aria-invalid={wrong}
        value={value}
        onInput={(event) => set(event.currentTarget.value)}
      />
    </label>
  )
}
