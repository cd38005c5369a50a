import { expect, test } from 'vitest'
import { last, lowerBound, put, type Series } from './series'

function series(...steps: number[]): Series {
  return { name: 'train/loss', steps, values: steps.map((step) => step * 10), times: [...steps], edits: 0 }
}

test('a point that is reported twice is there once, with its last value', () => {
  const known = series(1, 2)
  put(known, 2, 7, 9)
  expect(known).toEqual({ name: 'train/loss', steps: [1, 2], values: [10, 7], times: [1, 9], edits: 1 })
})

test('points that come out of order are sorted', () => {
  const known = series(1, 5)
  put(known, 3, null, 3)
  put(known, 0, 4, 0)
  expect(known.steps).toEqual([0, 1, 3, 5])
  expect(known.values).toEqual([4, 10, null, 50])
})

test('the lower bound is the first place that is not below', () => {
  expect([0, 1, 2, 3, 4, 5].map((wanted) => lowerBound([1, 3, 4], wanted))).toEqual([0, 0, 1, 1, 2, 3])
})

test('the last value is the last finite one', () => {
  expect(last([1, 2, null])).toBe(2)
  expect(last([])).toBeNull()
})
