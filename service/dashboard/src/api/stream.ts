/** A job's events as they happen. EventSource hides refusals, so the stream is read with fetch. */

import { EventSourceParserStream, type EventSourceMessage } from 'eventsource-parser/stream'
import { backoff } from '../lib/backoff'
import { pause } from '../lib/pause'
import { root } from '../root'
import { ask, Refusal } from './client'
import { connection } from './connection'
import type { JobEvent } from './events'

/** The server sends a comment every 15 s: without one for so long, the connection is dead. */
const HEARTBEAT_TIMEOUT_SECONDS = 45

export interface Listener {
  event(event: JobEvent): void
  /** The job has ended and all its events have been reported. */
  ended(): void
  refused(reason: Refusal): void
}

/** Report every event beyond `after`, once and in order, through any number of lost connections. Returns how to stop. */
export function follow(jobId: string, after: number, listener: Listener): () => void {
  const stop = new AbortController()
  void run(jobId, after, listener, stop.signal)
  return () => stop.abort()
}

async function run(jobId: string, after: number, listener: Listener, stop: AbortSignal): Promise<void> {
  let last = after
  let failures = 0
  while (!stop.aborted) {
    try {
      for await (const message of messages(jobId, last, stop)) {
        failures = 0
        if (message.event === 'end') return listener.ended()
        const event = JSON.parse(message.data) as JobEvent
        if (event.seq <= last) continue
        last = event.seq
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
  const timeout = new AbortController()
  const url = new URL(`v1/jobs/${encodeURIComponent(jobId)}/stream?after=${after}`, root)
  const response = await ask(new Request(url, { signal: AbortSignal.any([stop, timeout.signal]), cache: 'no-store' }))
  if (response.status === 204) return yield { event: 'end', data: '', id: undefined } // `after` was its last event
  const reader = response
    .body!.pipeThrough(withTimeout(timeout))
    .pipeThrough(new TextDecoderStream())
    .pipeThrough(new EventSourceParserStream())
    .getReader()
  for (let read = await reader.read(); !read.done; read = await reader.read()) yield read.value
}

/** Passes bytes through, and aborts the connection when none have come for too long. */
function withTimeout(timeout: AbortController): TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>> {
  let timer: ReturnType<typeof setTimeout>
  const restart = () => {
    clearTimeout(timer)
    timer = setTimeout(() => timeout.abort(), HEARTBEAT_TIMEOUT_SECONDS * 1000)
  }
  return new TransformStream({
    start: restart,
    transform(chunk, controller) {
      restart()
      controller.enqueue(chunk)
    },
    flush: () => clearTimeout(timer),
  })
}
