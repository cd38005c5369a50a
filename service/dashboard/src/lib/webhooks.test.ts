import { expect, test } from 'vitest'
import { deliveryResult, attemptResult, shortEvent, responseTime, unrecorded } from './webhooks'

const NOW = Date.parse('2026-01-01T00:00:00Z')
const LATER = '2026-01-01T00:00:20Z'
const SENT = { status: 'pending' as const, attempts: 0, next_at: LATER, status_code: null, error: null }

test('events are named by their last word', () => {
  expect(['fine_tuning.job.failed', 'webhook.test'].map(shortEvent)).toEqual(['failed', 'test'])
})

test('the result of a delivery names its attempts and its error', () => {
  expect(deliveryResult({ ...SENT, next_at: '2026-01-01T00:00:01Z' }, NOW)).toBe('pending, first attempt soon')
  expect(deliveryResult({ ...SENT, attempts: 2, status_code: 500, error: 'it answered 500' }, NOW)).toBe(
    '2 attempts, next in about 20 s: it answered 500',
  )
  expect(deliveryResult({ ...SENT, status: 'delivered', attempts: 1, next_at: null, status_code: 204 }, NOW)).toBe(
    'delivered, status 204',
  )
  expect(deliveryResult({ ...SENT, status: 'failed', attempts: 1, next_at: null, error: 'gone' }, NOW)).toBe(
    'failed after 1 attempt: gone',
  )
})

test('the result of an attempt is its status, or why it failed; its duration has a unit', () => {
  expect(attemptResult({ status_code: 204, error: null })).toBe('status 204')
  expect(attemptResult({ status_code: 500, error: 'answered 500, not 2xx' })).toBe('answered 500, not 2xx')
  expect([0.0312, 0.9996, 1.26, 10.004].map(responseTime)).toEqual(['31 ms', '1 s', '1.3 s', '10 s'])
})

test('attempts without a record are counted', () => {
  const attempt = { attempt: 2, at: LATER, status_code: 500, error: 'it answered 500', seconds: 1 }
  expect(unrecorded({ attempts: 0, attempt_log: [] })).toBe('No attempts yet.')
  expect(unrecorded({ attempts: 1, attempt_log: [] })).toBe('No record of 1 of 1 attempt.')
  expect(unrecorded({ attempts: 2, attempt_log: [attempt] })).toBe('No record of 1 of 2 attempts.')
  expect(unrecorded({ attempts: 1, attempt_log: [{ ...attempt, attempt: 1 }] })).toBe('')
})
