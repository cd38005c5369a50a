/** Health notes of a job. */

import type { HealthNote } from '../api/jobs'

/** `step 7`, `steps 7 to 30`; nothing for what was known before the first step. */
export function stepRange({ first_step, last_step }: HealthNote): string {
  if (last_step === 0) return ''
  return first_step === last_step ? `step ${first_step}` : `steps ${first_step} to ${last_step}`
}

/** The worst severity, and how many notes are more than information; null if none is. */
export function worst(notes: readonly HealthNote[]): { severity: 'warning' | 'critical'; count: number } | null {
  const count = notes.filter((note) => note.severity !== 'info').length
  if (count === 0) return null
  return { severity: notes.some((note) => note.severity === 'critical') ? 'critical' : 'warning', count }
}
