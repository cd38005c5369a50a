/** Saving a checkpoint: large ones go straight to the disk where the browser can do that. */

import { useEffect, useRef, useState } from 'preact/hooks'
import { downloadArchive, type Checkpoint, type Download } from '../api/checkpoints'
import { bytes } from '../lib/format'

/** Up to this size a file is held in the browser's memory; a larger one is written to a file that the user picks. */
const IN_MEMORY = 256 * 2 ** 20

type Picker = (options: { suggestedName: string }) => Promise<FileSystemFileHandle>
type Sink = (download: Download, count: TransformStream<Uint8Array<ArrayBuffer>>) => Promise<void>

export function DownloadButton({ checkpoint }: { checkpoint: Checkpoint }) {
  const [state, setState] = useState('Download')
  const stop = useRef<AbortController | null>(null)
  useEffect(() => () => stop.current?.abort(), [])
  const start = async () => {
    stop.current = new AbortController()
    try {
      const sink = await choose(checkpoint)
      const download = await downloadArchive(checkpoint.id, stop.current.signal)
      await sink(download, counted((count) => setState(`${bytes(count)} of ${bytes(checkpoint.export_bytes)}`)))
      setState('Download')
    } catch (error) {
      setState((error as Error).name === 'AbortError' ? 'Download' : `Failed: ${(error as Error).message}`)
    }
    stop.current = null
  }
  return (
    <button
      type="button"
      aria-label={`${state} checkpoint of step ${checkpoint.step}`}
      onClick={() => (stop.current ? stop.current.abort() : void start())}
    >
      {state}
    </button>
  )
}

/** The target of a download. The file picker must open within the click, before any request. */
async function choose(checkpoint: Checkpoint): Promise<Sink> {
  const picker = (window as { showSaveFilePicker?: Picker }).showSaveFilePicker
  if (checkpoint.export_bytes <= IN_MEMORY || picker === undefined) return toMemory
  const handle = await picker({ suggestedName: `${checkpoint.job_id}-step-${checkpoint.step}.tar` })
  return async (download, count) => download.content.pipeThrough(count).pipeTo(await handle.createWritable())
}

const toMemory: Sink = async (download, count) => {
  const blob = await new Response(download.content.pipeThrough(count)).blob()
  const link = document.createElement('a')
  link.href = URL.createObjectURL(blob)
  link.download = download.filename
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000)
}

function counted(report: (count: number) => void): TransformStream<Uint8Array<ArrayBuffer>> {
  let count = 0
  return new TransformStream({
    transform(chunk, controller) {
      count += chunk.byteLength
      report(count)
      controller.enqueue(chunk)
    },
  })
}
