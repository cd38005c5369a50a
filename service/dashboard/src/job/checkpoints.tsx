/** The job's checkpoints: how good they are, and their files. */

import { useEffect } from 'preact/hooks'
import { listCheckpoints, type Checkpoint } from '../api/checkpoints'
import { usePoll } from '../hooks/usePoll'
import { ago, bytes, moment, number } from '../lib/format'
import { Problem } from '../parts/problem'
import { DownloadButton } from './download'
import type { TabProps } from './page'

/** The list changes with a checkpoint's event; the clock is there for those that retention removes. */
const SECONDS = 30

export function Checkpoints({ job, live }: TabProps) {
  const { data, problem, refresh } = usePoll((signal) => listCheckpoints(job.id, signal), SECONDS, [
    job.id,
    live.epoch.value,
  ])
  useEffect(() => live.watch((events) => events.some((event) => event.kind === 'checkpoint') && refresh()), [live])
  if (problem !== null) return <Problem error={problem} />
  if (data === null) return <p class="muted">Loading…</p>
  if (data.length === 0) return <p class="empty">No checkpoint yet: the last step writes one, or sooner by the spec.</p>
  return (
    <table class="checkpoints">
      <thead>
        <tr>
          <th>Checkpoint</th>
          <th class="number">Step</th>
          <th class="number">Size</th>
          <th>Evaluation</th>
          <th class="number">Age</th>
          <th>
            <span class="hidden">Files</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {data.map((checkpoint) => (
          <Row key={checkpoint.id} checkpoint={checkpoint} />
        ))}
      </tbody>
    </table>
  )
}

function Row({ checkpoint }: { checkpoint: Checkpoint }) {
  return (
    <tr>
      <td>
        <span class="id">{checkpoint.id}</span> {checkpoint.best && <span class="best">best</span>}
      </td>
      <td class="number">{checkpoint.step}</td>
      <td class="number">{bytes(checkpoint.bytes)}</td>
      <td class="metrics">
        <Metrics metrics={checkpoint.metrics} />
      </td>
      <td class="number">
        <time dateTime={checkpoint.created_at} title={moment(checkpoint.created_at)}>
          {ago(checkpoint.created_at, Date.now())}
        </time>
      </td>
      <td class="number">
        <DownloadButton checkpoint={checkpoint} />
      </td>
    </tr>
  )
}

/** The evaluation says how good it is; without one everything else is shown. */
function Metrics({ metrics }: { metrics: Checkpoint['metrics'] }) {
  const all = Object.entries(metrics)
  const held = all.filter(([name]) => name.startsWith('eval/'))
  return (
    <>
      {(held.length ? held : all).map(([name, value]) => (
        <span key={name}>
          {held.length ? name.slice('eval/'.length) : name} <b>{number(value)}</b>{' '}
        </span>
      ))}
    </>
  )
}
