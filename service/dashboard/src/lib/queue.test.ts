import { expect, test } from 'vitest'
import { usage, isJobId, splitAtJobIds } from './queue'

test('jobs and free capacity in one line', () => {
  const capacity = { slots: { free: 0, all: 2 }, gpus: { free: 1, all: 4 } }
  const expected = '1 running, 3 queued, 2 paused · 0 of 2 slots free · 1 of 4 GPUs free'
  expect(usage({ running: 1, queued: 3, paused: 2, ...capacity })).toBe(expected)
})

test('what there is none of is left out', () => {
  const capacity = { slots: { free: 1, all: 1 }, gpus: { free: 0, all: 0 } }
  expect(usage({ running: 0, queued: 0, paused: 0, ...capacity })).toBe('0 running, 0 queued · 1 of 1 slots free')
})

test('the ids of jobs in a sentence are found', () => {
  const parts = splitAtJobIds('ftjob-01A, ftjob-01B must succeed first')
  expect(parts).toEqual(['ftjob-01A', ', ', 'ftjob-01B', ' must succeed first'])
  expect(parts.map(isJobId)).toEqual([true, false, true, false])
})
