import { expect, test } from 'vitest'
import { ago, between, bytes, duration, number, until } from './format'

test('numbers keep four digits and no needless zeros', () => {
  expect([0, 3, 0.5, 1234.5678, 0.000123456, 8.15e-7, -2.5, 12345678].map(number)).toEqual(
    ['0', '3', '0.5', '1235', '0.0001235', '8.15e-7', '-2.5', '1.23e7'],
  )
})

test('what is not a number is a dash', () => {
  expect([null, undefined, NaN, Infinity].map(number)).toEqual(['–', '–', '–', '–'])
})

test('sizes', () => {
  expect([0, 1023, 1536, 10 * 2 ** 20, 250 * 2 ** 30].map(bytes)).toEqual(['0 B', '1023 B', '1.5 KiB', '10.0 MiB', '250 GiB'])
})

test('durations have at most two units', () => {
  expect([0.4, 59, 60, 75, 3600, 7260, 90000].map(duration)).toEqual(
    ['0 s', '59 s', '1 min', '1 min 15 s', '1 h', '2 h 1 min', '1 d 1 h'],
  )
})

test('ages have one unit, and a clock that is ahead is no age', () => {
  const now = Date.parse('2026-01-01T01:00:00Z')
  expect(ago('2026-01-01T00:56:30Z', now)).toBe('3 min ago')
  expect(ago('2026-01-01T01:00:07Z', now)).toBe('just now')
})

test('an estimate has one unit, and one that has passed is soon', () => {
  const now = Date.parse('2026-01-01T01:00:00Z')
  expect(until('2026-01-01T01:03:30Z', now)).toBe('in about 3 min')
  expect(until('2026-01-01T00:59:00Z', now)).toBe('soon')
})

test('a span without an end reaches to now', () => {
  expect(between('2026-01-01T00:00:00Z', null, Date.parse('2026-01-01T00:00:05Z'))).toBe(5)
})
