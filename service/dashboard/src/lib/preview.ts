/** The first rows of a job as tokenized, reported once before the first step. */

import type { JobEvent } from '../api/events'

/** Consecutive tokens as text, all or none of them in the loss. */
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

/** The rows of the newest preview: an attempt that starts at step 0 reports them again. */
export function latest(events: readonly JobEvent[]): PreviewRow[] {
  const preview = events.findLast((event) => event.kind === 'preview')
  return (preview?.data.rows ?? []) as PreviewRow[]
}

/** What the rows are: RL prompts and preference pairs have no tokens with a loss here. */
export function heading(rows: readonly PreviewRow[]): string {
  if (rows.some((row) => row.learned_tokens > 0)) return 'Training rows'
  return rows.some((row) => row.side !== null) ? 'Preference pairs' : 'Prompts'
}

export function counts(row: PreviewRow): string {
  return row.learned_tokens > 0 ? `${row.learned_tokens} of ${row.tokens} tokens in the loss` : `${row.tokens} tokens`
}
