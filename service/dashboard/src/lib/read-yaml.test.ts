import { expect, test } from 'vitest'
import { readYaml } from './read-yaml'
import { yaml, type Json } from './yaml'
import documents from './yaml-documents.json'

/** `tests/cli/test_documents.py` holds PyYAML and the command line to the same file. */
const { read, refused, written } = documents as {
  read: { text: string; json: Json }[]
  refused: string[]
  written: { text: string; json: Json }[]
}

test.each(read)('$text reads as PyYAML reads it', ({ text, json }) => {
  expect(JSON.parse(JSON.stringify(readYaml(text)))).toEqual(json)
})

test.each(refused)('%j is refused, as by the command line', (text) => {
  expect(() => readYaml(text)).toThrow(/^line \d+: /)
})

test.each(written)('what is written is read back: $text', ({ text, json }) => {
  expect(yaml(json)).toBe(text)
  expect(readYaml(text)).toEqual(json)
})

test('a number that a browser cannot hold is refused, and not changed', () => {
  expect(() => readYaml('seed: 9007199254740993')).toThrow('line 1: 9007199254740993 is too large')
})

test('a character that PyYAML takes for the end of a line is refused', () => {
  expect(() => readYaml('a: 1\nname: x\u2028y')).toThrow('line 2: ')
})

test.each([
  ['seed: 1\nsteps', 'line 2: '],
  ['a:\n\tb: 1', 'line 2: '],
  ['a: 1\nb: "x', 'line 2: '],
  ['name: 2026-01-31', 'line 1: 2026-01-31 is a date in YAML: put it in quotes'],
  ['a: 1\nb: .nan', 'line 2: JSON has no number .nan'],
])('the refusal of %j names the line', (text, why) => {
  expect(() => readYaml(text)).toThrow(why)
})
