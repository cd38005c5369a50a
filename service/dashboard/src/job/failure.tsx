import type { Failure } from '../api/jobs'

/** Why a job failed, and what to do about it. */
export function FailureBox({ failure }: { failure: Failure }) {
  return (
    <section class="failure" aria-label="Failure">
      <p>
        <span class="category">{failure.category}</span> {failure.message}
      </p>
      {failure.hint && <p class="remedy">{failure.hint}</p>}
      {failure.detail && (
        <details>
          <summary>Details</summary>
          <pre>{failure.detail}</pre>
        </details>
      )}
    </section>
  )
}
