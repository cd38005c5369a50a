/** A job's events as they happen. EventSource cannot send a key, so the stream is read with fetch. */

import { EventSourceParserStream, type EventSourceMessage } from 'eventsource-parser/stream'
import { backoff } from '../lib/backoff'
import { pause } from '../lib/pause'
import { ask, Refusal } from './client'
import { connection } from './connection'
import type { JobEvent } from './events'

/** The server sends a comment every 15 s: a line this quiet is dead, even if nobody has told us. */
const QUIET_SECONDS = 45

export interface Listener {
  event(event: JobEvent): void
  /** The job has ended and all its events have been told. */
  ended(): void
  refused(reason: Refusal): void
}

/** Tell every event beyond `after`, once and in order, through any number of lost connections. Answers how to stop. */
export function follow(jobId: string, after: number, listener: Listener): () => void {
  const stop = new AbortController()
  void run(jobId, after, listener, stop.signal)
  return () => stop.abort()
}

async function run(jobId: string, after: number, listener: Listener, stop: AbortSignal): Promise<void> {
  let seen = after
  let failures = 0
  while (!stop.aborted) {
    try {
      for await (const message of messages(jobId, seen, stop)) {
        failures = 0
        if (message.event === 'end') return listener.ended()
        const event = JSON.parse(message.data) as JobEvent
        if (event.seq <= seen) continue
        seen = event.seq
        listener.event(event)
      }
    } catch (error) {
      if (stop.aborted) return
      if (error instanceof Refusal && error.status < 500) return listener.refused(error)
    }
    connection.value = 'lost'
    await pause(backoff(failures++, Math.random()), stop)
  }
}

async function* messages(jobId: string, after: number, stop: AbortSignal): AsyncGenerator<EventSourceMessage> {
  const quiet = new AbortController()
  const url = new URL(`/v1/jobs/${encodeURIComponent(jobId)}/stream?after=${after}`, location.origin)
  const response = await ask(new Request(url, { signal: AbortSignal.any([stop, quiet.signal]), cache: 'no-store' }))
  const reader = response
    .body!.pipeThrough(watched(quiet))
    .pipeThrough(new TextDecoderStream())
    .pipeThrough(new EventSourceParserStream())
    .getReader()
  for (let read = await reader.read(); !read.done; read = await reader.read()) yield read.value
}

/** Passes bytes through, and gives the connection up when none have come for too long. */
function watched(quiet: AbortController): TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>> {
  let timer: ReturnType<typeof setTimeout>
  const wind = () => {
    clearTimeout(timer)
    timer = setTimeout(() => quiet.abort(), QUIET_SECONDS * 1000)
  }
  return new TransformStream({
    start: wind,
    transform(chunk, controller) {
      wind()
      controller.enqueue(chunk)
    },
    flush: () => clearTimeout(timer),
  })
}
