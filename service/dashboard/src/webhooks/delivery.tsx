/** One delivery: its result and, opened, each attempt and the message. */

import { replace, route, withParams } from '../address'
import type { Delivery } from '../api/webhooks'
import { ago, moment } from '../lib/format'
import { attemptResult, deliveryResult, responseTime, unrecorded } from '../lib/webhooks'
import { JobLink } from '../parts/job-link'

const COLUMNS = 5

interface Props {
  delivery: Delivery
  now: number
  resend: () => void
}

export function DeliveryRows({ delivery, now, resend }: Props) {
  const { id, type, created_at: created } = delivery
  const open = route.value.params.delivery === id
  return (
    <>
      <tr>
        <td class="name">
          <button
            type="button"
            class="plain opens"
            aria-expanded={open}
            aria-label={`Attempts of ${type} ${id}`}
            onClick={() => replace(withParams({ delivery: open ? '' : id }))}
          >
            {type}
          </button>
          <span class="note id">{id}</span>
        </td>
        <td>{delivery.job_id && <JobLink id={delivery.job_id} />}</td>
        <td class={`why ${delivery.status}`}>{deliveryResult(delivery, now)}</td>
        <td class="number">
          <time dateTime={created} title={moment(created)}>
            {ago(created, now)}
          </time>
        </td>
        <td class="number">
          <button type="button" aria-label={`Resend ${type} ${id}`} onClick={resend}>
            Resend
          </button>
        </td>
      </tr>
      {open && (
        <tr>
          <td class="opened" colSpan={COLUMNS}>
            <Attempts delivery={delivery} />
            <h2>Message</h2>
            <pre>{JSON.stringify(delivery.payload, null, 2)}</pre>
          </td>
        </tr>
      )}
    </>
  )
}

function Attempts({ delivery }: { delivery: Delivery }) {
  const missing = unrecorded(delivery)
  return (
    <>
      {delivery.attempt_log.length > 0 && (
        <table class="attempts" aria-label={`Attempts of ${delivery.id}`}>
          <thead>
            <tr>
              <th class="number">Attempt</th>
              <th>Started</th>
              <th class="number">Duration</th>
              <th>Result</th>
            </tr>
          </thead>
          <tbody>
            {delivery.attempt_log.map((attempt) => (
              <tr key={attempt.attempt}>
                <td class="number" data-label="attempt">
                  {attempt.attempt}
                </td>
                <td>
                  <time dateTime={attempt.at}>{moment(attempt.at)}</time>
                </td>
                <td class="number" data-label="duration">
                  {responseTime(attempt.seconds)}
                </td>
                <td class={`why ${attempt.error === null ? 'delivered' : 'failed'}`}>{attemptResult(attempt)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {missing && <p class="muted">{missing}</p>}
    </>
  )
}
