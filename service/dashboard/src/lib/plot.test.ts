import { expect, test } from 'vitest'
import { columns, extent, flatRange, gaps, tick, weightFor } from './plot'

const LOSS = { name: 'train/loss', steps: [1, 2], values: [0, 3], times: [100, 104], edits: 0 }

test('x is the step or the time since the start', () => {
  expect(columns(LOSS, 'step', 98, 0)).toEqual([[1, 2], [0, 3], [0, 3]])
  expect(columns(LOSS, 'time', 98, 0.5)).toEqual([[2, 6], [0, 3], [0, expect.closeTo(2, 12)]])
})

test('all charts share the extent of the longest series', () => {
  const accuracy = { name: 'eval/accuracy', steps: [0], values: [0.1], times: [99], edits: 0 }
  expect(extent([LOSS, accuracy], 'step', 98)).toEqual([0, 2])
  expect(extent([LOSS, accuracy], 'time', 98)).toEqual([1, 6])
  expect(extent([], 'step', 0)).toEqual([0, 1])
})

test('evaluations and learning rates are not smoothed', () => {
  expect(['eval/accuracy', 'critic/learning_rate', 'train/loss'].map((name) => weightFor(name, 0.6))).toEqual([0, 0, 0.6])
})

test('values that were not finite are counted', () => {
  expect(gaps([1, null, 2, null])).toBe(2)
})

test('the time axis changes its unit', () => {
  expect([0, 45, 720, 9000].map(tick)).toEqual(['0s', '45s', '12m', '2.5h'])
})

test('what hardly changes lies in the middle, what is always 0 at the ground', () => {
  expect(flatRange(4, 4)).toEqual([2, 6])
  expect(flatRange(-4, -4)).toEqual([-6, -2])
  expect(flatRange(0, 0)).toEqual([0, 1])
  expect(flatRange(null, null)).toEqual([0, 1])
  const [low, high] = flatRange(0.001 * (1 - 3.5e-8), 0.001)!
  expect([low, high].map((end) => Number(end.toPrecision(3)))).toEqual([0.0005, 0.0015])
  expect(flatRange(0.999, 1)).toBeNull()
})
