/** What was sent to a webhook, or is to be. */

import { route, withParams } from '../address'
import { listDeliveries, redeliver, testWebhook, type Delivery } from '../api/webhooks'
import { usePoll } from '../hooks/usePoll'
import { useRequest } from '../hooks/useRequest'
import { useTitle } from '../hooks/useTitle'
import { ago, moment } from '../lib/format'
import { href } from '../lib/route'
import { fate } from '../lib/webhooks'
import { JobLink } from '../parts/job-link'
import { Problem } from '../parts/problem'
import { Title } from '../parts/title'

const SECONDS = 3

export function WebhookLog({ id }: { id: string }) {
  useTitle('Deliveries')
  const { after } = route.value.params
  const { data, problem, refresh } = usePoll((signal) => listDeliveries(id, after, signal), SECONDS, [id, after])
  const asked = useRequest()
  const send = async (ask: () => Promise<void>) => {
    if (await asked.send('send', ask)) refresh()
  }
  return (
    <main class="view">
      <a class="up" href={href(['webhooks'])}>
        ← Webhooks
      </a>
      <div class="heading">
        <Title>Deliveries</Title>
        <button type="button" aria-disabled={asked.busy !== ''} onClick={() => void send(() => testWebhook(id))}>
          Send a test
        </button>
      </div>
      <Problem error={asked.problem ?? problem} />
      {data?.deliveries.length === 0 && <p class="empty">Nothing was sent yet.</p>}
      {data !== null && data.deliveries.length > 0 && (
        <Found deliveries={data.deliveries} again={(delivery) => void send(() => redeliver(delivery))} />
      )}
      <nav class="pages" aria-label="Pages">
        {after && <a href={withParams({ after: '' })}>Newest</a>}
        {data?.next && <a href={withParams({ after: data.next })}>Older</a>}
      </nav>
    </main>
  )
}

interface FoundProps {
  deliveries: Delivery[]
  again: (delivery: Delivery) => void
}

function Found({ deliveries, again }: FoundProps) {
  const now = Date.now()
  return (
    <table class="folds">
      <thead>
        <tr>
          <th>Message</th>
          <th>Job</th>
          <th>What became of it</th>
          <th class="number">Age</th>
          <th>
            <span class="hidden">Send again</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {deliveries.map((delivery) => (
          <tr key={delivery.id}>
            <td class="name">
              <b>{delivery.type}</b>
              <span class="note id">{delivery.id}</span>
            </td>
            <td>{delivery.job_id && <JobLink id={delivery.job_id} />}</td>
            <td class={`why ${delivery.status}`}>{fate(delivery, now)}</td>
            <td class="number">
              <time dateTime={delivery.created_at} title={moment(delivery.created_at)}>
                {ago(delivery.created_at, now)}
              </time>
            </td>
            <td class="number">
              <button
                type="button"
                aria-label={`Send again ${delivery.type} ${delivery.id}`}
                onClick={() => again(delivery)}
              >
                Send again
              </button>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}
