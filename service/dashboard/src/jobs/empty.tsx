const SPEC = `name: first steps
algorithm: {type: sft}
model: tiny
dataset: {source: linear-algebra}
steps: 100`

/** Nothing to show: what to do about it. */
export function Empty({ filtered }: { filtered: boolean }) {
  if (filtered) {
    return (
      <p class="empty">
        No job matches. <a href="#/jobs">Show all jobs</a>
      </p>
    )
  }
  return (
    <section class="empty">
      <h2>No jobs yet</h2>
      <p>
        Write a spec, say <code>job.yaml</code>:
      </p>
      <pre>{SPEC}</pre>
      <p>and submit it; it appears here by itself:</p>
      <pre>hone submit job.yaml</pre>
      <p class="muted">
        Over HTTP the same document goes to <code>POST /v1/jobs</code> as JSON; see the <a href="/docs">API</a>.
      </p>
    </section>
  )
}
