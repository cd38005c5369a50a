import { useState } from 'preact/hooks'
import { createWebhook, type WebhookEvent } from '../api/webhooks'
import { useRequest } from '../hooks/useRequest'
import { shortEvent } from '../lib/webhooks'
import { Problem } from '../parts/problem'

/** Each event, and whether it is selected by default: as in the API. */
const EVENTS: Record<WebhookEvent, boolean> = {
  'fine_tuning.job.running': false,
  'fine_tuning.job.paused': false,
  'fine_tuning.job.succeeded': true,
  'fine_tuning.job.failed': true,
  'fine_tuning.job.cancelled': true,
  'fine_tuning.job.warning': false,
}
const ALL = Object.keys(EVENTS) as WebhookEvent[]

/** Adds a webhook; its secret is shown until the view is left. */
export function CreateWebhook({ created }: { created: () => void }) {
  const [url, setUrl] = useState('')
  const [selected, setSelected] = useState(EVENTS)
  const [secret, setSecret] = useState('')
  const { busy, problem, send } = useRequest()
  const submit = (event: SubmitEvent) => {
    event.preventDefault()
    void send('create', async () => {
      const webhook = await createWebhook(url.trim(), ALL.filter((name) => selected[name]))
      setSecret(webhook.secret)
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
            <input type="checkbox" checked={selected[name]} onChange={() => setSelected({ ...selected, [name]: !selected[name] })} />
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
            Signing secret, shown only once. Receivers verify messages with it: <code>{secret}</code>
          </p>
        )}
      </div>
    </form>
  )
}
