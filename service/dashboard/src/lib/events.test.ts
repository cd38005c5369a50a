import { expect, test } from 'vitest'
import type { JobEvent } from '../api/events'
import { merged, record, restarts, sentence } from './events'
import type { Series } from './series'

function event(seq: number, kind: JobEvent['kind'], data: JobEvent['data'], more: Partial<JobEvent> = {}): JobEvent {
  return { object: 'event', seq, kind, data, attempt: 1, step: null, created_at: '2026-01-01T00:00:10Z', ...more }
}

test('events that come twice are kept once, in order', () => {
  const [a, b, c] = [event(1, 'log', {}), event(2, 'log', {}), event(5, 'log', {})]
  expect(merged([a!, b!], [c!, b!]).map((each) => each.seq)).toEqual([1, 2, 5])
})

test('a metrics event adds to the series of its names, once', () => {
  const series = new Map<string, Series>()
  const metrics = event(3, 'metrics', { step: 4, metrics: { 'train/loss': 0.5, 'policy/kl': null } }, { step: 4 })
  record(series, metrics)
  record(series, metrics)
  expect(series.get('train/loss')).toMatchObject({ steps: [4], values: [0.5], times: [1767225610] })
  expect(series.get('policy/kl')).toMatchObject({ steps: [4], values: [null] })
})

test('only a new attempt that runs is a restart', () => {
  const running = (attempt: number) => event(9, 'status', { status: 'running' }, { attempt })
  expect(restarts(running(1), 1)).toBe(false)
  expect(restarts(running(2), 1)).toBe(true)
  expect(restarts(event(9, 'status', { status: 'queued' }, { attempt: 2 }), 1)).toBe(false)
})

test('a failure is shown with its category and reason', () => {
  const failed = event(1, 'status', { status: 'failed', failure: { category: 'nan', message: 'train/loss is nan' } })
  expect(sentence(failed)).toBe('failed · nan: train/loss is nan')
})

test('a claim names attempt and worker', () => {
  expect(sentence(event(1, 'status', { status: 'running', attempt: 2, worker: 'w1' }))).toBe('running · attempt 2 · on w1')
})
