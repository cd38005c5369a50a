import { expect, test } from 'vitest'
import type { JobEvent } from '../api/events'
import { counts, heading, latest, type PreviewRow } from './preview'

function row(more: Partial<PreviewRow>): PreviewRow {
  return { row: 1, side: null, segments: [], tokens: 10, learned_tokens: 0, truncated: false, ...more }
}

function told(seq: number, kind: JobEvent['kind'], rows: PreviewRow[]): JobEvent {
  const created_at = '2026-01-01T00:00:10Z'
  return { object: 'event', seq, kind, data: { rows }, attempt: 1, step: 0, created_at }
}

test('an attempt that began anew replaces the preview', () => {
  const [old, fresh] = [[row({})], [row({ row: 2 })]]
  expect(latest([told(1, 'preview', old), told(4, 'preview', fresh), told(5, 'log', [])])).toEqual(fresh)
  expect(latest([])).toEqual([])
})

test('the heading says what happens to the rows', () => {
  expect(heading([row({}), row({ learned_tokens: 3 })])).toBe('What is learned')
  expect(heading([row({ side: 'chosen' }), row({ side: 'rejected' })])).toBe('What is compared')
  expect(heading([row({})])).toBe('What is asked')
})

test('tokens are counted, learned ones where there are some', () => {
  expect(counts(row({ learned_tokens: 4 }))).toBe('4 of 10 tokens learned')
  expect(counts(row({}))).toBe('10 tokens')
})
