import type { Worker } from '../api/workers'
import { bytes } from './format'

/** Whether a worker claims jobs. */
export function workerStatus({ alive, draining }: Pick<Worker, 'alive' | 'draining'>): 'alive' | 'draining' | 'dead' {
  if (!alive) return 'dead'
  return draining ? 'draining' : 'alive'
}

/** Its GPUs, grouped by model: "2 × NVIDIA H100 (79.6 GiB)"; a worker without GPUs has its CPU. */
export function devices({ gpus }: Pick<Worker, 'gpus'>): string[] {
  const kinds = new Map<string, number>()
  for (const { name, memory_bytes: size } of gpus) {
    const kind = size > 0 ? `${name} (${bytes(size)})` : name
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
  }
  return kinds.size ? [...kinds].map(([kind, count]) => (count > 1 ? `${count} × ${kind}` : kind)) : ['CPU']
}

/** "hone 0.1.0, python 3.11.2, torch 2.9.1". */
export function versions({ versions }: Pick<Worker, 'versions'>): string {
  return Object.entries(versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(', ')
}
