/** One message: what became of it and, opened, each attempt and what was sent. */

import { replace, route, withParams } from '../address'
import type { Delivery } from '../api/webhooks'
import { ago, moment } from '../lib/format'
import { fate, outcome, took, unrecorded } from '../lib/webhooks'
import { JobLink } from '../parts/job-link'

const COLUMNS = 5

interface Props {
  delivery: Delivery
  now: number
  again: () => void
}

export function DeliveryRows({ delivery, now, again }: Props) {
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
        <td class={`why ${delivery.status}`}>{fate(delivery, now)}</td>
        <td class="number">
          <time dateTime={created} title={moment(created)}>
            {ago(created, now)}
          </time>
        </td>
        <td class="number">
          <button type="button" aria-label={`Send again ${type} ${id}`} onClick={again}>
            Send again
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
  const lacking = unrecorded(delivery)
  return (
    <>
      {delivery.attempt_log.length > 0 && (
        <table class="attempts" aria-label={`Attempts of ${delivery.id}`}>
          <thead>
            <tr>
              <th class="number">Attempt</th>
              <th>Begun</th>
              <th class="number">Took</th>
              <th>Answer</th>
            </tr>
          </thead>
          <tbody>
            {delivery.attempt_log.map((one) => (
              <tr key={one.attempt}>
                <td class="number" data-label="attempt">
                  {one.attempt}
                </td>
                <td>
                  <time dateTime={one.at}>{moment(one.at)}</time>
                </td>
                <td class="number" data-label="took">
                  {took(one.seconds)}
                </td>
                <td class={`why ${one.error === null ? 'delivered' : 'failed'}`}>{outcome(one)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {lacking && <p class="muted">{lacking}</p>}
    </>
  )
}
