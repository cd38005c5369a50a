/** The deliveries of a webhook, sent and pending. */

import { route, withParams } from '../address'
import { listDeliveries, redeliver, testWebhook, type Delivery } from '../api/webhooks'
import { usePoll } from '../hooks/usePoll'
import { useRequest } from '../hooks/useRequest'
import { useTitle } from '../hooks/useTitle'
import { href } from '../lib/route'
import { Problem } from '../parts/problem'
import { Title } from '../parts/title'
import { DeliveryRows } from './delivery'

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
          Send test message
        </button>
      </div>
      <Problem error={asked.problem ?? problem} />
      {data?.deliveries.length === 0 && <p class="empty">No deliveries yet.</p>}
      {data !== null && data.deliveries.length > 0 && (
        <DeliveryTable deliveries={data.deliveries} resend={(delivery) => void send(() => redeliver(delivery))} />
      )}
      <nav class="pages" aria-label="Pages">
        {after && <a href={withParams({ after: '', delivery: '' })}>Newest</a>}
        {data?.next && <a href={withParams({ after: data.next, delivery: '' })}>Older</a>}
      </nav>
    </main>
  )
}

interface TableProps {
  deliveries: Delivery[]
  resend: (delivery: Delivery) => void
}

function DeliveryTable({ deliveries, resend }: TableProps) {
  const now = Date.now()
  return (
    <table class="folds">
      <thead>
        <tr>
          <th>Message</th>
          <th>Job</th>
          <th>Result</th>
          <th class="number">Age</th>
          <th>
            <span class="hidden">Resend</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {deliveries.map((delivery) => (
          <DeliveryRows key={delivery.id} delivery={delivery} now={now} resend={() => resend(delivery)} />
        ))}
      </tbody>
    </table>
  )
}
