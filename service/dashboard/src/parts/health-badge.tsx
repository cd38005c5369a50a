import type { HealthNote } from '../api/jobs'
import { worst } from '../lib/health-notes'

/** How many warnings a job has; nothing if it has none. */
export function HealthBadge({ notes }: { notes: HealthNote[] }) {
  const found = worst(notes)
  if (found === null) return null
  const warnings = found.count === 1 ? '1 warning' : `${found.count} warnings`
  const messages = notes.filter((note) => note.severity !== 'info').map((note) => note.message)
  return (
    <span class={`badge noted ${found.severity}`} title={messages.join('\n')}>
      <span aria-hidden="true">⚠</span> {warnings}
    </span>
  )
}
