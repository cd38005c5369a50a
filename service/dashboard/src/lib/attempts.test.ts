import { expect, test } from 'vitest'
import { attempt, ran } from './attempts'

const JOB = {
  status: 'running' as const,
  attempt: 1,
  restarts: 0,
  ran_seconds: 0,
  started_at: '2026-01-01T00:00:00Z',
  finished_at: null,
}
const NOW = Date.parse('2026-01-01T00:10:00Z')

test('the first attempt runs since the job started', () => {
  expect(ran(JOB, NOW)).toBe('10 min')
})

test('pauses do not count', () => {
  expect(ran({ ...JOB, status: 'paused', ran_seconds: 75 }, NOW)).toBe('1 min 15 s')
  expect(ran({ ...JOB, status: 'succeeded', ran_seconds: 90, finished_at: '2026-01-01T00:09:00Z' }, NOW)).toBe('1 min 30 s')
})

test('of a later attempt only what came before it is known', () => {
  expect(ran({ ...JOB, attempt: 2, ran_seconds: 75 }, NOW)).toBe('1 min 15 s in earlier attempts')
})

test('restarts without progress are shown', () => {
  expect([0, 1, 2].map((restarts) => attempt({ ...JOB, attempt: 3, restarts }))).toEqual([
    '3',
    '3 (1 restart since the last checkpoint)',
    '3 (2 restarts since the last checkpoint)',
  ])
})
