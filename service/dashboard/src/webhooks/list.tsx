/** Webhooks: URLs to which Hone posts job events. */

import { useState } from 'preact/hooks'
import { deleteWebhook, listWebhooks, setEnabled, type Webhook } from '../api/webhooks'
import { usePoll } from '../hooks/usePoll'
import { useRequest } from '../hooks/useRequest'
import { useTitle } from '../hooks/useTitle'
import { href } from '../lib/route'
import { shortEvent } from '../lib/webhooks'
import { Dialog } from '../parts/dialog'
import { Problem } from '../parts/problem'
import { Title } from '../parts/title'
import { CreateWebhook } from './create'

const SECONDS = 10

export function WebhookList() {
  useTitle('Webhooks')
  const { data, problem, refresh } = usePoll(listWebhooks, SECONDS, [])
  return (
    <main class="view">
      <div class="heading">
        <Title>Webhooks</Title>
      </div>
      <CreateWebhook created={refresh} />
      <Problem error={problem} />
      {data?.length === 0 && <p class="empty">No webhooks yet. Hone posts job events to each URL that you add here.</p>}
      {data !== null && data.length > 0 && <WebhookTable webhooks={data} changed={refresh} />}
    </main>
  )
}

function WebhookTable({ webhooks, changed }: { webhooks: Webhook[]; changed: () => void }) {
  return (
    <table class="folds">
      <thead>
        <tr>
          <th>URL</th>
          <th>Events</th>
          <th>Status</th>
          <th>
            <span class="hidden">Actions</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {webhooks.map((webhook) => (
          <Row key={webhook.id} webhook={webhook} changed={changed} />
        ))}
      </tbody>
    </table>
  )
}

interface RowProps {
  webhook: Webhook
  changed: () => void
}

function Row({ webhook, changed }: RowProps) {
  const { id, url, enabled } = webhook
  const { busy, problem, send } = useRequest()
  const [asking, setAsking] = useState(false)
  const verb = enabled ? 'Disable' : 'Enable'
  const toggle = async () => {
    if (await send('change', () => setEnabled(id, !enabled))) changed()
  }
  return (
    <tr>
      <td class="name">
        <a href={href(['webhooks', id])}>{url}</a>
        <span class="note">{webhook.owner}</span>
      </td>
      <td data-label="events">{webhook.events.map(shortEvent).join(', ')}</td>
      <td>
        <span class={`badge ${enabled ? 'alive' : ''}`}>{enabled ? 'enabled' : 'disabled'}</span>
      </td>
      <td>
        <div class="buttons">
          <button
            type="button"
            aria-label={`${verb} ${url}`}
            aria-disabled={busy !== ''}
            onClick={() => void toggle()}
          >
            {verb}
          </button>
          <button type="button" aria-label={`Delete ${url}`} onClick={() => setAsking(true)}>
            Delete
          </button>
        </div>
        <Problem error={problem} />
        {asking && <DeleteDialog webhook={webhook} close={() => setAsking(false)} deleted={changed} />}
      </td>
    </tr>
  )
}

interface DeleteProps {
  webhook: Webhook
  close: () => void
  deleted: () => void
}

function DeleteDialog({ webhook, close, deleted }: DeleteProps) {
  const { busy, problem, send } = useRequest()
  const confirm = async () => {
    if (await send('delete', () => deleteWebhook(webhook.id))) (close(), deleted())
  }
  return (
    <Dialog title="Delete this webhook?" close={close}>
      <p>Hone stops posting to {webhook.url}. Its delivery log and its pending deliveries are deleted.</p>
      <Problem error={problem} />
      <div class="buttons">
        <button type="button" onClick={close}>
          Keep the webhook
        </button>
        <button type="button" class="danger" disabled={busy !== ''} onClick={() => void confirm()}>
          Delete the webhook
        </button>
      </div>
    </Dialog>
  )
}
