import { useState } from 'preact/hooks'
import { createWebhook, type WebhookEvent } from '../api/webhooks'
import { useRequest } from '../hooks/useRequest'
import { shortEvent } from '../lib/webhooks'
import { Problem } from '../parts/problem'

/** Each event, and whether one is told of it unless one says otherwise: as in the API. */
const EVENTS: Record<WebhookEvent, boolean> = {
  'fine_tuning.job.running': false,
  'fine_tuning.job.paused': false,
  'fine_tuning.job.succeeded': true,
  'fine_tuning.job.failed': true,
  'fine_tuning.job.cancelled': true,
}
const ALL = Object.keys(EVENTS) as WebhookEvent[]

/** Have an address told; its secret is shown until one goes elsewhere. */
export function CreateWebhook({ created }: { created: () => void }) {
  const [url, setUrl] = useState('')
  const [told, setTold] = useState(EVENTS)
  const [secret, setSecret] = useState('')
  const { busy, problem, send } = useRequest()
  const submit = (event: SubmitEvent) => {
    event.preventDefault()
    void send('create', async () => {
      const made = await createWebhook(url.trim(), ALL.filter((name) => told[name]))
      setSecret(made.secret)
      setUrl('')
      created()
    })
  }
  return (
    <form class="create" aria-label="New webhook" onSubmit={submit}>
      <div class="controls">
        <label>
          URL
          <input
            type="url"
            required
            placeholder="https://example.com/hooks"
            value={url}
            onInput={(event) => setUrl(event.currentTarget.value)}
          />
        </label>
        {ALL.map((name) => (
          <label key={name}>
            <input type="checkbox" checked={told[name]} onChange={() => setTold({ ...told, [name]: !told[name] })} />
            {shortEvent(name)}
          </label>
        ))}
        <button class="primary" disabled={busy !== ''}>
          Create
        </button>
      </div>
      <Problem error={problem} />
      <div role="status">
        {secret && (
          <p class="secret">
            Its secret, shown this once; receivers verify messages with it: <code>{secret}</code>
          </p>
        )}
      </div>
    </form>
  )
}
