/** One series, drawn by uPlot; its cursor and its zoom are shared with the other charts of the page. */

import { useEffect, useRef, useState } from 'preact/hooks'
import uPlot from 'uplot'
import { replace, withParams } from '../address'
import { number } from '../lib/format'
import { columns, gaps, tick, weightFor, type ChartView, type Zoom } from '../lib/plot'
import { last, type Series } from '../lib/series'
import { options } from './plot-options'

interface ChartProps {
  series: Series
  /** The series' counter of changes: the points differ when it does. */
  edits: number
  view: ChartView
}

export function Chart({ series, edits, view }: ChartProps) {
  const [index, setIndex] = useState<number | null>(null)
  const place = usePlot(series, edits, view, setIndex)
  const shown = index === null ? last(series.values) : series.values[index]
  return (
    <figure class="chart">
      <figcaption>
        <span class="name">{series.name.slice(series.name.indexOf('/') + 1)}</span>
        <Gaps count={gaps(series.values)} />
        <span class="at">{index !== null && position(series, index, view)}</span>
        <b>{number(shown)}</b>
      </figcaption>
      <div ref={place} class="plot" role="img" aria-label={description(series)} onDblClick={zoomOut} />
    </figure>
  )
}

function Gaps({ count }: { count: number }) {
  if (count === 0) return null
  return (
    <span class="gaps" title="values that are NaN or infinite">
      {count} not finite
    </span>
  )
}

function position(series: Series, index: number, view: ChartView): string {
  if (view.axis === 'step') return `step ${series.steps[index] ?? ''}`
  return tick((series.times[index] ?? view.start) - view.start)
}

function description(series: Series): string {
  return `${series.name}: ${series.steps.length} points, last ${number(last(series.values))} at step ${series.steps.at(-1)}`
}

/** Keep a plot in the element of the returned reference. */
function usePlot(series: Series, edits: number, view: ChartView, hovered: (index: number | null) => void) {
  const place = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | null>(null)
  const shown = useRef(view.shown)
  shown.current = view.shown
  const data = () => columns(series, view.axis, view.start, weightFor(series.name, view.weight)) as uPlot.AlignedData
  useEffect(() => {
    const element = place.current!
    const created = new uPlot(options(element, view.axis, () => shown.current, zoomTo, hovered), data(), element)
    plot.current = created
    const resized = new ResizeObserver(() => created.setSize({ width: element.clientWidth, height: created.height }))
    resized.observe(element)
    return () => (resized.disconnect(), created.destroy())
  }, [view.axis])
  useEffect(() => plot.current?.setData(data()), [series, edits, view.axis, view.weight, view.start, String(view.shown)])
  return place
}

function zoomTo([from, to]: Zoom): void {
  replace(withParams({ from: String(Number(from.toPrecision(6))), to: String(Number(to.toPrecision(6))) }))
}

function zoomOut(): void {
  replace(withParams({ from: '', to: '' }))
}
