import { expect, test } from 'vitest'
import { grouped, keyMetric } from './groups'

test('groups come in the order in which people look', () => {
  const names = ['time/step', 'train/loss', 'eval/loss', 'eval/accuracy', 'custom/x', 'bare']
  expect(grouped(names)).toEqual([
    { prefix: 'eval', names: ['eval/accuracy', 'eval/loss'] },
    { prefix: 'train', names: ['train/loss'] },
    { prefix: 'time', names: ['time/step'] },
    { prefix: 'custom', names: ['custom/x'] },
    { prefix: 'other', names: ['bare'] },
  ])
})

test('accuracy says more than reward, reward more than loss', () => {
  expect(keyMetric({ 'train/loss': 1, 'policy/reward': 2, 'eval/accuracy': 0.5 })).toEqual(['eval/accuracy', 0.5])
  expect(keyMetric({ 'train/loss': 1, 'policy/reward': 2 })).toEqual(['policy/reward', 2])
  expect(keyMetric({ 'train/loss': null })).toEqual(['train/loss', null])
  expect(keyMetric({ 'time/step': 1 })).toBeNull()
})
