import { expect, test } from 'vitest'
import { fullness, isJob, words } from './queue'

test('how full the service is in one line', () => {
  const room = { slots: { free: 0, all: 2 }, gpus: { free: 1, all: 4 } }
  const told = '1 runs, 3 wait, 2 paused · 0 of 2 slots free · 1 of 4 GPUs free'
  expect(fullness({ running: 1, queued: 3, paused: 2, ...room })).toBe(told)
})

test('what there is none of is left out', () => {
  const room = { slots: { free: 1, all: 1 }, gpus: { free: 0, all: 0 } }
  expect(fullness({ running: 0, queued: 0, paused: 0, ...room })).toBe('0 run, 0 wait · 1 of 1 slots free')
})

test('the ids of jobs in a sentence are found', () => {
  const cut = words('ftjob-01A, ftjob-01B must succeed first')
  expect(cut).toEqual(['ftjob-01A', ', ', 'ftjob-01B', ' must succeed first'])
  expect(cut.map(isJob)).toEqual([true, false, true, false])
})
