import { useState } from 'preact/hooks'
import { yaml } from '../lib/yaml'
import type { TabProps } from './page'

/** The whole spec, defaults included: it can be submitted again as it stands. */
export function Spec({ job }: TabProps) {
  const text = yaml(job.spec)
  const [copied, setCopied] = useState(false)
  const copy = () => navigator.clipboard.writeText(text).then(() => setCopied(true))
  return (
    <section class="spec" aria-label="Spec">
      {'clipboard' in navigator && (
        <button type="button" onClick={() => void copy()}>
          {copied ? 'Copied' : 'Copy'}
        </button>
      )}
      <pre>{text}</pre>
    </section>
  )
}
