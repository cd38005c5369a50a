/** A job, live: the document, its series and its events, kept up to date by the stream. */

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

type Listener = (events: JobEvent[]) => void

export class LiveJob {
  readonly job = signal<Job | null>(null)
  readonly problem = signal<Error | null>(null)
  /** A new map after every change, so that views notice; the series in it are the same objects. */
  readonly series = signal<ReadonlyMap<string, Series> | null>(null)
  /** Grows when a new attempt has removed records of earlier ones: lists request theirs again. */
  readonly epoch = signal(0)

  private readonly stop = new AbortController()
  private readonly listeners = new Set<Listener>()
  private batch: JobEvent[] = []
  /** Metric events that came during a request for the series: its answer may or may not have them. */
  private pendingMetrics: JobEvent[] | null = null
  private attempt = 0
  private refreshing = false

  constructor(private readonly id: string) {
    void this.start()
  }

  /** Call `listener` with new events, in order; returns how to stop that. */
  subscribe(listener: Listener): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  close(): void {
    this.stop.abort()
  }

  /** Request the document now, e.g. after an action. */
  async refresh(): Promise<void> {
    const job = await this.withRetries(() => getJob(this.id, this.stop.signal))
    if (job !== null) this.show(job)
  }

  /** Show a document, e.g. the answer to an action, unless a newer one is shown already. */
  show(job: Job): void {
    if (job.version >= (this.job.value?.version ?? 0)) this.job.value = job
  }

  private async start(): Promise<void> {
    await this.refresh()
    const job = this.job.value
    if (job === null) return
    this.attempt = job.attempt
    void this.reload()
    if (isOver(job.status)) return
    const stopStream = follow(this.id, job.version, {
      event: (event) => this.take(event),
      ended: () => void this.refresh(),
      refused: (reason) => (this.problem.value = reason),
    })
    this.stop.signal.addEventListener('abort', stopStream)
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
    for (const listener of this.listeners) listener(events)
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
    this.pendingMetrics?.push(event)
    if (this.series.value !== null) record(this.series.value as Map<string, Series>, event)
  }

  /** Request all series again, without losing the events that come meanwhile. */
  private async reload(): Promise<void> {
    const received: JobEvent[] = []
    this.pendingMetrics = received
    const fresh = await this.withRetries(() => getSeries(this.id, this.stop.signal))
    if (fresh === null || this.pendingMetrics !== received) return
    for (const event of received) record(fresh, event)
    this.pendingMetrics = null
    this.series.value = fresh
  }

  private async refreshSoon(seconds: number): Promise<void> {
    if (this.refreshing && seconds > 0) return
    this.refreshing = true
    await pause(seconds, this.stop.signal)
    this.refreshing = false
    await this.refresh()
  }

  /** Request until there is an answer; null when it was refused or the page was left. */
  private async withRetries<T>(ask: () => Promise<T>): Promise<T | null> {
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
