import { expect, test } from 'vitest'
import { readYaml } from './read-yaml'
import { yaml } from './yaml'

test('what is written is read back', () => {
  const spec = {
    name: 'a: b # c',
    algorithm: { type: 'grpo', beta: 0.04, lr: 1e-7, off: null, on: true },
    rewards: [{ type: 'math', weight: 1, words: ['yes', '.5', "it's"] }, { type: 'format' }, 'plain'],
    model: 'job:ftjob-1@best',
    tasks: ['trace', 'det'],
    depends_on: [],
    tags: {},
    nested: [[{ a: 1 }], { b: { c: '' } }],
    '1 key: odd': -2,
  }
  expect(readYaml(yaml(spec))).toEqual(spec)
})

test('JSON is read as it is', () => {
  const document = { steps: 20, optimizer: { learning_rate: 1e-4 }, tags: { a: 'x, "y"' }, list: [1, [2], {}] }
  expect(readYaml(JSON.stringify(document))).toEqual(document)
  expect(readYaml(JSON.stringify(document, null, 2))).toEqual(document)
})

test('blocks in braces may leave quotes out', () => {
  expect(readYaml('dataset: {source: linear-algebra, tasks: [trace, det], size: 16}  # small')).toEqual({
    dataset: { source: 'linear-algebra', tasks: ['trace', 'det'], size: 16 },
  })
})

test('comments, blank lines and lists below their name are fine', () => {
  expect(readYaml("# first\nlora:\n\nrewards:\n- type: exact # why\n  weight: 2\nname: 'it''s'\nseed: # later")).toEqual({
    lora: null,
    rewards: [{ type: 'exact', weight: 2 }],
    name: "it's",
    seed: null,
  })
})

test('nothing is null', () => {
  expect(readYaml(' \n# only this\n')).toBeNull()
})

test.each([
  ['steps 20\nseed: 1', "line 1: 'steps 20' is not `field: value`"],
  ['seed: 1\nsteps', "line 2: 'steps' is not `field: value`"],
  ['a:\n\tb: 1', 'line 2: indent with spaces, not with tabs'],
  ['a: [1, 2', "line 1: a ']' is missing"],
  ['a: 1\na: 2', 'line 2: a stands there twice'],
  ['a:\n    b: 1\n  c: 2', 'line 3: is indented less than the lines that it belongs to'],
  ['a: "x', 'line 1: a quote is not closed'],
])('%j is refused', (text, why) => {
  expect(() => readYaml(text)).toThrow(why)
})
