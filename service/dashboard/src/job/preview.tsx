/** The first rows as tokenized, with the tokens of the loss marked: a wrong template or mask shows here first. */

import { counts, heading, latest, type PreviewRow } from '../lib/preview'
import { Problem } from '../parts/problem'
import { useHistory } from './history'
import type { JobProps } from './props'

export function Preview({ live }: JobProps) {
  const history = useHistory(live, ['preview'])
  const rows = latest(history.events)
  return (
    <section aria-label="Data">
      <Problem error={history.problem} />
      {rows.length > 0 && <h2 class="preview-title">{heading(rows)}</h2>}
      {rows.map((row) => (
        <RowCard key={`${row.row}${row.side}`} row={row} />
      ))}
      {rows.length === 0 && !history.loading && <p class="empty">The first rows appear once the job has started.</p>}
    </section>
  )
}

function RowCard({ row }: { row: PreviewRow }) {
  return (
    <article class="sample" aria-label={`Row ${row.row}${row.side ? `, ${row.side}` : ''}`}>
      <header>
        <span>
          row <b>{row.row}</b>
        </span>
        {row.side && <span class="split">{row.side}</span>}
        <span class="tokens">{counts(row)}</span>
        {row.truncated && (
          <span class="truncated" title="longer than max_length">
            truncated
          </span>
        )}
      </header>
      <pre class="preview">
        {row.segments.map((segment, index) => (segment.learned ? <mark key={index}>{segment.text}</mark> : segment.text))}
      </pre>
    </article>
  )
}
