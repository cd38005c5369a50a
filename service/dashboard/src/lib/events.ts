/** Events as sentences and as points of series. */

import type { JobEvent } from '../api/events'
import { bytes, number } from './format'
import { summary, type Loaded } from './loaded'
import { put, type Series } from './series'

/** Two runs of events as one, sorted by number, each event once. */
export function merged(first: readonly JobEvent[], second: readonly JobEvent[]): JobEvent[] {
  const bySeq = new Map([...first, ...second].map((event) => [event.seq, event]))
  return [...bySeq.values()].sort((a, b) => a.seq - b.seq)
}

/** Add a metrics event's values to the series of their names. */
export function record(series: Map<string, Series>, event: JobEvent): void {
  const values = (event.data.metrics ?? {}) as Record<string, number | null>
  const time = Date.parse(event.created_at) / 1000
  for (const [name, value] of Object.entries(values)) {
    const known = series.get(name) ?? { name, steps: [], values: [], times: [], edits: 0 }
    series.set(name, known)
    put(known, event.step ?? Number(event.data.step), value, time)
  }
}

/** Whether an event begins an attempt after `attempt`: points beyond its checkpoint have been removed. */
export function restarts(event: JobEvent, attempt: number): boolean {
  return event.kind === 'status' && event.data.status === 'running' && event.attempt > attempt
}

/** One line about an event. */
export function sentence(event: JobEvent): string {
  return SENTENCES[event.kind](event.data)
}

type Data = Record<string, unknown>

const SENTENCES: Record<JobEvent['kind'], (data: Data) => string> = {
  status: statusSentence,
  metrics: (data) => values(data.metrics),
  log: (data) => text(data.line),
  loaded: (data) => summary(data as unknown as Loaded),
  preview: (data) => `${Array.isArray(data.rows) ? data.rows.length : 0} rows previewed`,
  sample: (data) => `${text(data.count)} responses recorded`,
  checkpoint: (data) => `${text(data.id)}, ${bytes(Number(data.bytes ?? 0))}${data.best ? ', the best so far' : ''}`,
  note: (data) => `${text(data.severity)} · ${text(data.message)}`,
}

function statusSentence(data: Data): string {
  const failure = data.failure as { category?: string; message?: string } | undefined
  const details = [
    data.attempt === undefined ? '' : `attempt ${text(data.attempt)}`,
    text(data.phase),
    data.worker === undefined ? '' : `on ${text(data.worker)}`,
    text(data.reason),
    failure ? `${failure.category ?? 'failed'}: ${failure.message ?? ''}` : '',
  ].filter(Boolean)
  return [text(data.status), ...details].join(' · ')
}

function values(metrics: unknown): string {
  const pairs = Object.entries((metrics ?? {}) as Record<string, number | null>)
  return pairs.map(([name, value]) => `${name} ${number(value)}`).join('  ')
}

function text(value: unknown): string {
  return value === undefined || value === null ? '' : String(value)
}
