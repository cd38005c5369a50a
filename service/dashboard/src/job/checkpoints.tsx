/** The job's checkpoints: their evaluation metrics and their files. */

import { useEffect } from 'preact/hooks'
import { listCheckpoints, type Checkpoint } from '../api/checkpoints'
import type { Job } from '../api/jobs'
import { usePoll } from '../hooks/usePoll'
import { ago, bytes, moment, number } from '../lib/format'
import { isOver } from '../lib/verbs'
import { Problem } from '../parts/problem'
import { DownloadButton } from './download'
import type { JobProps } from './props'

/** A checkpoint event refreshes the list at once; the poll notices what retention has removed. */
const SECONDS = 30

export function Checkpoints({ job, live }: JobProps) {
  const { data, problem, refresh } = usePoll((signal) => listCheckpoints(job.id, signal), SECONDS, [
    job.id,
    live.epoch.value,
  ])
  useEffect(() => live.subscribe((events) => events.some((event) => event.kind === 'checkpoint') && refresh()), [live])
  if (problem !== null) return <Problem error={problem} />
  if (data === null) return <p class="muted">Loading…</p>
  if (data.length === 0) return <p class="empty">{none(job)}</p>
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

function none({ status }: Job): string {
  if (isOver(status)) return 'This job has no checkpoints.'
  return 'No checkpoints yet. One is written after the last step, and earlier if checkpoint.every is set.'
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

/** The metrics of the evaluation; without one, all others. */
function Metrics({ metrics }: { metrics: Checkpoint['metrics'] }) {
  const all = Object.entries(metrics)
  const evaluated = all.filter(([name]) => name.startsWith('eval/'))
  return (
    <>
      {(evaluated.length ? evaluated : all).map(([name, value]) => (
        <span key={name}>
          {evaluated.length ? name.slice('eval/'.length) : name} <b>{number(value)}</b>{' '}
        </span>
      ))}
    </>
  )
}
