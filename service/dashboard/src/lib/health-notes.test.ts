import { expect, test } from 'vitest'
import type { HealthNote } from '../api/jobs'
import { stepRange, worst } from './health-notes'

function note(severity: HealthNote['severity'], first_step = 0, last_step = first_step): HealthNote {
  return { code: 'loss_rose', severity, param: null, message: 'It rose', remedy: null, first_step, last_step }
}

test('a note says at which steps it was seen, unless it was known before the first', () => {
  expect([note('info'), note('info', 7), note('info', 0, 9), note('info', 7, 30)].map(stepRange)).toEqual([
    '',
    'step 7',
    'steps 0 to 9',
    'steps 7 to 30',
  ])
})

test('information is no reason for a mark; the worst severity counts', () => {
  expect(worst([])).toBeNull()
  expect(worst([note('info'), note('info')])).toBeNull()
  expect(worst([note('info'), note('warning'), note('warning')])).toEqual({ severity: 'warning', count: 2 })
  expect(worst([note('critical'), note('warning')])).toEqual({ severity: 'critical', count: 2 })
})
