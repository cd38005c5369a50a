/** The first rows of a job as the model sees them, told once before the first step. */

import type { JobEvent } from '../api/events'

/** Consecutive tokens as text, all learned or all only read. */
export interface Segment {
  text: string
  learned: boolean
}

export interface PreviewRow {
  row: number
  /** Of a pair, which one. */
  side: 'chosen' | 'rejected' | null
  segments: Segment[]
  tokens: number
  learned_tokens: number
  truncated: boolean
}

/** The rows of the newest preview: an attempt that began anew tells them again. */
export function latest(events: readonly JobEvent[]): PreviewRow[] {
  const told = events.findLast((event) => event.kind === 'preview')
  return (told?.data.rows ?? []) as PreviewRow[]
}

/** What the rows show. Prompts and pairs are only read: what is learned from them comes later. */
export function heading(rows: readonly PreviewRow[]): string {
  if (rows.some((row) => row.learned_tokens > 0)) return 'What is learned'
  return rows.some((row) => row.side !== null) ? 'What is compared' : 'What is asked'
}

export function counts(row: PreviewRow): string {
  return row.learned_tokens > 0 ? `${row.learned_tokens} of ${row.tokens} tokens learned` : `${row.tokens} tokens`
}
