import { useState } from 'preact/hooks'
import { yaml } from '../lib/yaml'
import { Models } from './models'
import type { JobProps } from './props'

/** The whole spec, defaults included: it can be submitted again as it stands. Below it the models that were loaded. */
export function Spec({ job, live }: JobProps) {
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
      <Models live={live} />
    </section>
  )
}
