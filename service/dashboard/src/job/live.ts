/** A job as it happens: the document, its series and its events, kept up to date by the stream. */

import { signal } from '@preact/signals'
import { Refusal } from '../api/client'
import type { JobEvent } from '../api/events'
import { getJob, type Job } from '../api/jobs'
import { getSeries } from '../api/metrics'
import { follow } from '../api/stream'
import { backoff } from '../lib/backoff'
import { record, restarts } from '../lib/events'
import { pause } from '../lib/pause'
import type { Series } from '../lib/series'
import { isOver } from '../lib/verbs'

/** Events are shown in batches: a fast trainer must not make the page draw for each. */
const BATCH_MS = 100
const REFRESH_SECONDS = 1
/** Phase and queue change without an event. */
const POLL_SECONDS = 5

type Watcher = (events: JobEvent[]) => void

export class LiveJob {
  readonly job = signal<Job | null>(null)
  readonly problem = signal<Error | null>(null)
  /** The map is new after every change, so that views notice; the series in it are kept. */
  readonly series = signal<ReadonlyMap<string, Series> | null>(null)
  /** Grows when what earlier attempts reported has changed: lists ask again. */
  readonly epoch = signal(0)

  private readonly stop = new AbortController()
  private readonly watchers = new Set<Watcher>()
  private batch: JobEvent[] = []
  /** Metrics told while the series are asked for: the answer may or may not have them. */
  private unsettled: JobEvent[] | null = null
  private attempt = 0
  private refreshing = false

  constructor(private readonly id: string) {
    void this.start()
  }

  /** Be told of new events, in order; answers how to stop that. */
  watch(watcher: Watcher): () => void {
    this.watchers.add(watcher)
    return () => this.watchers.delete(watcher)
  }

  close(): void {
    this.stop.abort()
  }

  /** Ask for the document now, e.g. after a verb. */
  async refresh(): Promise<void> {
    const found = await this.insist(() => getJob(this.id, this.stop.signal))
    if (found !== null) this.show(found)
  }

  /** Show a document, e.g. a verb's answer, unless a newer one is there already. */
  show(found: Job): void {
    if (found.version >= (this.job.value?.version ?? 0)) this.job.value = found
  }

  private async start(): Promise<void> {
    await this.refresh()
    const job = this.job.value
    if (job === null) return
    this.attempt = job.attempt
    void this.reload()
    if (isOver(job.status)) return
    const unfollow = follow(this.id, job.version, {
      event: (event) => this.take(event),
      ended: () => void this.refresh(),
      refused: (reason) => (this.problem.value = reason),
    })
    this.stop.signal.addEventListener('abort', unfollow)
    void this.poll()
  }

  private async poll(): Promise<void> {
    while (!this.stop.signal.aborted && !isOver(this.job.value!.status)) {
      await pause(POLL_SECONDS, this.stop.signal)
      if (!document.hidden) await this.refresh()
    }
  }

  private take(event: JobEvent): void {
    if (this.batch.length === 0) setTimeout(() => this.flush(), BATCH_MS)
    this.batch.push(event)
  }

  private flush(): void {
    if (this.stop.signal.aborted) return
    const events = this.batch
    this.batch = []
    for (const event of events) this.apply(event)
    this.series.value = this.series.value && new Map(this.series.value)
    for (const watcher of this.watchers) watcher(events)
    const moved = events.some((event) => event.kind === 'status' && event.data.status !== this.job.value?.status)
    void this.refreshSoon(moved ? 0 : REFRESH_SECONDS)
  }

  private apply(event: JobEvent): void {
    if (restarts(event, this.attempt)) {
      this.attempt = event.attempt
      this.epoch.value += 1
      void this.reload()
    }
    if (event.kind !== 'metrics') return
    this.unsettled?.push(event)
    if (this.series.value !== null) record(this.series.value as Map<string, Series>, event)
  }

  /** Ask for all series anew, without losing what is told meanwhile. */
  private async reload(): Promise<void> {
    const told: JobEvent[] = []
    this.unsettled = told
    const fresh = await this.insist(() => getSeries(this.id, this.stop.signal))
    if (fresh === null || this.unsettled !== told) return
    for (const event of told) record(fresh, event)
    this.unsettled = null
    this.series.value = fresh
  }

  private async refreshSoon(seconds: number): Promise<void> {
    if (this.refreshing && seconds > 0) return
    this.refreshing = true
    await pause(seconds, this.stop.signal)
    this.refreshing = false
    await this.refresh()
  }

  /** Ask until there is an answer; null when it was refused or nobody looks any more. */
  private async insist<T>(ask: () => Promise<T>): Promise<T | null> {
    for (let failures = 0; !this.stop.signal.aborted; failures++) {
      try {
        return await ask()
      } catch (error) {
        if (this.stop.signal.aborted) return null
        if (error instanceof Refusal && error.status < 500) {
          this.problem.value = error
          return null
        }
      }
      await pause(backoff(failures, Math.random()), this.stop.signal)
    }
    return null
  }
}
