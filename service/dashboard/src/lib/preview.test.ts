import { expect, test } from 'vitest'
import type { JobEvent } from '../api/events'
import { counts, heading, latest, type PreviewRow } from './preview'

function row(more: Partial<PreviewRow>): PreviewRow {
  return { row: 1, side: null, segments: [], tokens: 10, learned_tokens: 0, truncated: false, ...more }
}

function previewed(seq: number, kind: JobEvent['kind'], rows: PreviewRow[]): JobEvent {
  const created_at = '2026-01-01T00:00:10Z'
  return { object: 'event', seq, kind, data: { rows }, attempt: 1, step: 0, created_at }
}

test('a new attempt replaces the preview', () => {
  const [old, fresh] = [[row({})], [row({ row: 2 })]]
  expect(latest([previewed(1, 'preview', old), previewed(4, 'preview', fresh), previewed(5, 'log', [])])).toEqual(fresh)
  expect(latest([])).toEqual([])
})

test('the heading says what the rows are', () => {
  expect(heading([row({}), row({ learned_tokens: 3 })])).toBe('Training rows')
  expect(heading([row({ side: 'chosen' }), row({ side: 'rejected' })])).toBe('Preference pairs')
  expect(heading([row({})])).toBe('Prompts')
})

test('tokens are counted, and those in the loss if there are any', () => {
  expect(counts(row({ learned_tokens: 4 }))).toBe('4 of 10 tokens in the loss')
  expect(counts(row({}))).toBe('10 tokens')
})
