/** The same job again, from the start, with some fields changed. */

import { useState } from 'preact/hooks'
import { go } from '../address'
import { Refusal } from '../api/client'
import { cloneJob, type Job } from '../api/jobs'
import { useOnce } from '../hooks/useOnce'
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
  const once = useOnce()
  const submit = (event: SubmitEvent) => {
    event.preventDefault()
    void send('clone', async () => {
      const changes = changesOf(job.spec, typed, further)
      const made = await once((key) => cloneJob(job.id, changes, key))
      go(href(['jobs', made.id]))
    })
  }
  const wrong = problem instanceof Refusal ? problem.param : null
  return (
    <Dialog title="Clone this job" close={close}>
      <form class="clone" onSubmit={submit}>
        <p class="muted">A new job of the same spec, from the start. An empty field means its default.</p>
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
          Further changes, as YAML or JSON; null removes a field
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

/** Numbers are typed as text: `1e-5` is one, and what is none the API refuses in words. */
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
