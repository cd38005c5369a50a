import { expect, test } from 'vitest'
import { parentJob, shortModel } from './model'

test('a model can be the checkpoint of a job', () => {
  expect(parentJob('job:ftjob-1@best')).toBe('ftjob-1')
  expect(parentJob('tiny')).toBeNull()
})

test('only the ids of jobs are shortened', () => {
  expect(shortModel('job:ftjob-01M81TH6JS37@best')).toBe('job …H6JS37@best')
  expect(shortModel('org/model')).toBe('org/model')
})
