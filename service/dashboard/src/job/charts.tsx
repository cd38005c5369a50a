/** All series of a job, by group; smoothing, axis and zoom are in the address. */

import { useMemo } from 'preact/hooks'
import { replace, route, withParams } from '../address'
import type { Job } from '../api/jobs'
import { useMedia } from '../hooks/useMedia'
import { grouped } from '../lib/groups'
import { extent, type Axis, type ChartView, type Zoom } from '../lib/plot'
import type { Series } from '../lib/series'
import { isOver } from '../lib/verbs'
import { Chart } from './chart'
import type { JobProps } from './props'

export function Charts({ job, live }: JobProps) {
  const series = live.series.value
  const { smooth = '0.6', x = 'step', from, to } = route.value.params
  const dark = useMedia('(prefers-color-scheme: dark)')
  if (series === null) return <p class="muted">Loading…</p>
  if (series.size === 0) return <p class="empty">{none(job)}</p>
  const start = Date.parse(job.started_at ?? job.created_at) / 1000
  const zoom: Zoom | null = from && to ? [Number(from), Number(to)] : null
  const axis: Axis = x === 'time' ? 'time' : 'step'
  const view = { axis, start, weight: weightOf(smooth), shown: zoom ?? extent(series.values(), axis, start) }
  return (
    <>
      <Controls weight={view.weight} axis={view.axis} zoomed={zoom !== null} />
      <Groups key={String(dark)} series={series} view={view} />
    </>
  )
}

function none({ status }: Job): string {
  return isOver(status) ? 'This job recorded no metrics.' : 'No metrics yet. They appear with the first step.'
}

function weightOf(text: string): number {
  const weight = Number(text)
  return weight >= 0 && weight < 1 ? weight : 0.6
}

function Groups({ series, view }: { series: ReadonlyMap<string, Series>; view: ChartView }) {
  const names = [...series.keys()].sort().join(' ')
  const groups = useMemo(() => grouped(series.keys()), [names])
  return (
    <>
      {groups.map((group) => (
        <section key={group.prefix} class="group" aria-label={`${group.prefix} metrics`}>
          <h2>{group.prefix}</h2>
          <div class="charts">
            {group.names.map((name) => (
              <Chart key={name} series={series.get(name)!} edits={series.get(name)!.edits} view={view} />
            ))}
          </div>
        </section>
      ))}
    </>
  )
}

interface ControlsProps {
  weight: number
  axis: Axis
  zoomed: boolean
}

function Controls({ weight, axis, zoomed }: ControlsProps) {
  return (
    <form class="controls" aria-label="Charts" onSubmit={(event) => event.preventDefault()}>
      <label>
        Smoothing
        <input
          type="range"
          min="0"
          max="0.99"
          step="0.01"
          value={weight}
          onInput={(event) => replace(withParams({ smooth: event.currentTarget.value }))}
        />
        <output>{weight.toFixed(2)}</output>
      </label>
      <label>
        X axis
        <select
          value={axis}
          onChange={(event) => replace(withParams({ x: event.currentTarget.value, from: '', to: '' }))}
        >
          <option value="step">steps</option>
          <option value="time">time</option>
        </select>
      </label>
      {zoomed ? (
        <button type="button" onClick={() => replace(withParams({ from: '', to: '' }))}>
          Reset zoom
        </button>
      ) : (
        <span class="muted tip">Drag across a chart to zoom.</span>
      )}
    </form>
  )
}
