import { expect, test } from 'vitest'
import { yaml } from './yaml'

test('a spec reads as one would write it', () => {
  const spec = {
    name: 'first steps',
    algorithm: { type: 'grpo', beta: 0.04 },
    rewards: [{ type: 'math', weight: 1 }, { type: 'format' }],
    depends_on: [],
    tags: {},
    lora: null,
    tasks: ['trace', 'determinant'],
  }
  expect(yaml(spec)).toBe(
    [
      'name: first steps',
      'algorithm:',
      '  type: grpo',
      '  beta: 0.04',
      'rewards:',
      '  - type: math',
      '    weight: 1',
      '  - type: format',
      'depends_on: []',
      'tags: {}',
      'lora: null',
      'tasks: [trace, determinant]',
    ].join('\n'),
  )
})

test('text that YAML would take for something else is quoted', () => {
  expect(['yes', 'null', '1e5', 'a: b', '- x', 'x #y', '', ' x', 'a\nb', '.5', 'job:x@best'].map((text) => yaml(text))).toEqual(
    ['"yes"', '"null"', '"1e5"', '"a: b"', '"- x"', '"x #y"', '""', '" x"', '"a\\nb"', '".5"', '"job:x@best"'],
  )
})
