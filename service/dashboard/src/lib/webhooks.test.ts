import { expect, test } from 'vitest'
import { fate, outcome, shortEvent, took, unrecorded } from './webhooks'

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

test('an attempt is told by its answer, or by why it failed, and how long it took', () => {
  expect(outcome({ status_code: 204, error: null })).toBe('answer 204')
  expect(outcome({ status_code: 500, error: 'answered 500, not 2xx' })).toBe('answered 500, not 2xx')
  expect([0.0312, 0.9996, 1.26, 10.004].map(took)).toEqual(['31 ms', '1 s', '1.3 s', '10 s'])
})

test('attempts that were begun and have no record are counted', () => {
  const one = { attempt: 2, at: LATER, status_code: 500, error: 'it answered 500', seconds: 1 }
  expect(unrecorded({ attempts: 0, attempt_log: [] })).toBe('Not yet tried.')
  expect(unrecorded({ attempts: 1, attempt_log: [] })).toBe('No record of 1 of 1 attempt.')
  expect(unrecorded({ attempts: 2, attempt_log: [one] })).toBe('No record of 1 of 2 attempts.')
  expect(unrecorded({ attempts: 1, attempt_log: [{ ...one, attempt: 1 }] })).toBe('')
})
