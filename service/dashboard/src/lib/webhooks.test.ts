import { expect, test } from 'vitest'
import { fate, shortEvent } from './webhooks'

const NOW = Date.parse('2026-01-01T00:00:00Z')
const LATER = '2026-01-01T00:00:20Z'
const SENT = { status: 'pending' as const, attempts: 0, next_at: LATER, status_code: null, error: null }

test('events are named by their last word', () => {
  expect(['fine_tuning.job.failed', 'webhook.test'].map(shortEvent)).toEqual(['failed', 'test'])
})

test('what became of a message is told with its tries and its error', () => {
  expect(fate({ ...SENT, next_at: '2026-01-01T00:00:01Z' }, NOW)).toBe('to be sent soon')
  expect(fate({ ...SENT, attempts: 2, status_code: 500, error: 'it answered 500' }, NOW)).toBe(
    'tried 2 times, again in about 20 s: it answered 500',
  )
  expect(fate({ ...SENT, status: 'delivered', attempts: 1, next_at: null, status_code: 204 }, NOW)).toBe(
    'delivered, answer 204',
  )
  expect(fate({ ...SENT, status: 'failed', attempts: 1, next_at: null, error: 'gone' }, NOW)).toBe(
    'given up, tried once: gone',
  )
})
