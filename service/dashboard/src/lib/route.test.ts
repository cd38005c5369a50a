import { expect, test } from 'vitest'
import { href, parseRoute } from './route'

test('an address is a path and parameters', () => {
  expect(parseRoute('#/jobs/ftjob-1?tab=logs&follow=no')).toEqual({
    path: ['jobs', 'ftjob-1'],
    params: { tab: 'logs', follow: 'no' },
  })
})

test('no address is an empty path', () => {
  expect(parseRoute('')).toEqual({ path: [], params: {} })
  expect(parseRoute('#/')).toEqual({ path: [], params: {} })
})

test('what is written is read back, whatever it contains', () => {
  const path = ['jobs', 'a/b?c#d %']
  const params = { q: 'x & y = z', tab: 'spec' }
  expect(parseRoute(href(path, params))).toEqual({ path, params })
})

test('defaults leave no trace in the address', () => {
  expect(href(['jobs'], { status: '', algorithm: undefined })).toBe('#/jobs')
})

test('a broken escape stays as it is', () => {
  expect(parseRoute('#/jobs/%E0%A4%A').path).toEqual(['jobs', '%E0%A4%A'])
})
