/** What was sent to a webhook, or is to be. */

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
          Send a test
        </button>
      </div>
      <Problem error={asked.problem ?? problem} />
      {data?.deliveries.length === 0 && <p class="empty">Nothing was sent yet.</p>}
      {data !== null && data.deliveries.length > 0 && (
        <Found deliveries={data.deliveries} again={(delivery) => void send(() => redeliver(delivery))} />
      )}
      <nav class="pages" aria-label="Pages">
        {after && <a href={withParams({ after: '', delivery: '' })}>Newest</a>}
        {data?.next && <a href={withParams({ after: data.next, delivery: '' })}>Older</a>}
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
          <DeliveryRows key={delivery.id} delivery={delivery} now={now} again={() => again(delivery)} />
        ))}
      </tbody>
    </table>
  )
}
