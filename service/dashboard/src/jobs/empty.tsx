import { root } from '../root'

const SPEC = `name: first steps
algorithm: {type: sft}
model: tiny
dataset: {source: linear-algebra}
steps: 100`

/** The empty list, with what the user can do. */
export function Empty({ filtered }: { filtered: boolean }) {
  if (filtered) {
    return (
      <p class="empty">
        No jobs match the filters. <a href="#/jobs">Show all jobs</a>
      </p>
    )
  }
  return (
    <section class="empty">
      <h2>No jobs yet</h2>
      <p>
        Write a spec, for example <code>job.yaml</code>:
      </p>
      <pre>{SPEC}</pre>
      <p>Submit it; the job appears here:</p>
      <pre>hone submit job.yaml</pre>
      <p class="muted">
        Over HTTP, send the same document as JSON to <code>POST /v1/jobs</code>; see the <a href={`${root}docs`}>API</a>.
      </p>
    </section>
  )
}
