import { expect, test } from 'vitest'
import { valueAt } from './spec'

test('a field is found by its path', () => {
  const spec = { steps: 3, packing: false, optimizer: { learning_rate: 1e-5, type: 'adamw' } }
  const paths = ['steps', 'packing', 'optimizer.learning_rate', 'optimizer.type']
  expect(paths.map((path) => valueAt(spec, path))).toEqual([3, false, 1e-5, 'adamw'])
})

test.each([null, undefined, 'text', 5, [], {}, { optimizer: null }, { optimizer: 'adamw' }, { optimizer: ['adamw'] }])(
  'what %j does not have is null',
  (spec) => {
    expect(valueAt(spec, 'optimizer.learning_rate')).toBeNull()
  },
)

test('a list or fields where a value was are no value', () => {
  expect(valueAt({ steps: [1, 2] }, 'steps')).toBeNull()
  expect(valueAt({ steps: { most: 5 } }, 'steps')).toBeNull()
  expect(valueAt({}, 'constructor.name')).toBeNull()
})
