import { expect, test } from 'vitest'
import { devices, workerStatus, versions } from './workers'

const GPU = { index: 0, name: 'H100', memory_bytes: 80 * 2 ** 30 }

test('GPUs of one model are grouped', () => {
  expect(devices({ gpus: [GPU, { ...GPU, index: 1 }, { index: 2, name: 'T4', memory_bytes: 0 }] })).toEqual([
    '2 × H100 (80.0 GiB)',
    'T4',
  ])
  expect(devices({ gpus: [] })).toEqual(['CPU'])
})

test('a dead worker is dead, also while it drained', () => {
  const all = [true, false].flatMap((alive) => [true, false].map((draining) => workerStatus({ alive, draining })))
  expect(all).toEqual(['draining', 'alive', 'dead', 'dead'])
})

test('versions in one line', () => {
  expect(versions({ versions: { hone: '0.1.0', torch: '2.9.1' } })).toBe('hone 0.1.0, torch 2.9.1')
})
