import type { HealthNote } from '../api/jobs'
import { stepRange } from '../lib/health-notes'

/** What people should know of the run, the worst first. Notes that are only information are folded. */
export function HealthNotes({ notes }: { notes: HealthNote[] }) {
  const infos = notes.filter((note) => note.severity === 'info')
  const warnings = ['critical', 'warning'].flatMap((level) => notes.filter((note) => note.severity === level))
  return (
    <>
      {warnings.length > 0 && <List name="Warnings" notes={warnings} />}
      {infos.length > 0 && (
        <details class="infos">
          <summary>{infos.length === 1 ? '1 note' : `${infos.length} notes`}</summary>
          <List name="Notes" notes={infos} />
        </details>
      )}
    </>
  )
}

function List({ name, notes }: { name: string; notes: HealthNote[] }) {
  return (
    <ul class="health-notes" aria-label={name}>
      {notes.map((note) => (
        <li key={`${note.code} ${note.param ?? ''}`} class={note.severity}>
          <p>
            <span class="code">{note.code}</span> {note.message} <span class="steps">{stepRange(note)}</span>
          </p>
          {note.remedy && <p class="remedy">{note.remedy}</p>}
        </li>
      ))}
    </ul>
  )
}
