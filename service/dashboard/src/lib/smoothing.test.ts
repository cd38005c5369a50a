import { expect, test } from 'vitest'
import { ema } from './smoothing'

test('the first value is itself: no bias toward zero', () => {
  expect(ema([4, 4, 4], 0.9)).toEqual([4, 4, 4].map((value) => expect.closeTo(value, 12)))
})

test('by hand: weight 0.5 of 0 and 3 is 1.5 over a mass of 0.75', () => {
  expect(ema([0, 3], 0.5)[1]).toBeCloseTo(2, 12)
})

test('a gap stays a gap and does not reset the mean', () => {
  expect(ema([0, null, 3], 0.5)).toEqual([0, null, expect.closeTo(2, 12)])
})

test('no smoothing changes nothing', () => {
  expect(ema([1, 5, 2], 0)).toEqual([1, 5, 2])
})
