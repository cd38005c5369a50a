import { expect, test } from 'vitest'
import { changesOf, typedFrom } from './changes'

const SPEC = { name: null, steps: 100, seed: 0, optimizer: { learning_rate: 0.00001, schedule: 'cosine' } }

test('fields begin as the spec has them', () => {
  const rate = 'optimizer.learning_rate'
  expect(typedFrom(SPEC)).toEqual({ name: '', steps: '100', seed: '0', [rate]: '0.00001' })
})

test('what was not touched is not sent', async () => {
  expect(await changesOf(SPEC, typedFrom(SPEC), '')).toEqual({})
})

test('fields and text become one patch', async () => {
  const typed = { ...typedFrom(SPEC), name: '12', steps: ' 20 ', 'optimizer.learning_rate': '1e-4' }
  expect(await changesOf(SPEC, typed, 'optimizer: {warmup_steps: 5}\nlora: null')).toEqual({
    name: '12',
    steps: 20,
    optimizer: { learning_rate: 1e-4, warmup_steps: 5 },
    lora: null,
  })
})

test('a dotted name goes as deep as it says, and the text wins over the field', async () => {
  const typed = { ...typedFrom(SPEC), seed: '7' }
  expect(await changesOf(SPEC, typed, 'optimizer.schedule: constant\noptimizer.warmup_steps: 2\nseed: 8')).toEqual({
    seed: 8,
    optimizer: { schedule: 'constant', warmup_steps: 2 },
  })
})

test('an emptied field goes back to its default, a wrong one is for the API to refuse', async () => {
  const typed = { ...typedFrom(SPEC), seed: '', steps: 'many' }
  expect(await changesOf(SPEC, typed, '')).toEqual({ seed: null, steps: 'many' })
})

test('a list is not a change of a spec', async () => {
  await expect(changesOf(SPEC, typedFrom(SPEC), '- steps')).rejects.toThrow('write one `field: value` per line')
})
