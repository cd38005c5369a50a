import { expect, test } from 'vitest'
import { backoff } from './backoff'

test('waits double up to ten seconds', () => {
  expect([0, 1, 2, 10].map((failures) => backoff(failures, 0.5))).toEqual([0.5, 1, 2, 10])
})

test('many browsers do not come back at once', () => {
  expect(backoff(1, 0)).toBe(0.75)
  expect(backoff(1, 1)).toBe(1.25)
})
