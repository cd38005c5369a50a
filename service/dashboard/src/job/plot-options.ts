/** How a chart looks and behaves. Colours come from the style sheet, which defines light and dark in one place. */

import uPlot from 'uplot'
import { number } from '../lib/format'
import { flatRange, tick, type Axis, type Zoom } from '../lib/plot'

const HEIGHT = 150
/** Series with at most this many points also show them as dots. */
const FEW = 40
/** The place of the values among the columns; the moving average follows. */
const RAW = 1
/** Steps are whole numbers, so labels have no fractions. */
const WHOLE = [0, 1, 2, 3, 4, 5, 6].flatMap((power) => [1, 2, 5].map((digit) => digit * 10 ** power))

export function options(
  element: HTMLElement,
  axis: Axis,
  shown: () => Zoom,
  zoomed: (zoom: Zoom) => void,
  hovered: (index: number | null) => void,
): uPlot.Options {
  const colour = (name: string) => getComputedStyle(element).getPropertyValue(name).trim()
  return {
    width: element.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    padding: [8, 14, 0, 0],
    scales: { x: { time: false, range: () => spread(shown()) }, y: { range: (_, low, high) => height(low, high) } },
    axes: axes(axis, colour),
    series: [{}, line(colour('--chart-raw'), 1), { ...line(colour('--chart-line'), 1.75), points: points(colour) }],
    cursor: {
      sync: { key: 'job', scales: ['x', null] },
      drag: { x: true, y: false, setScale: false },
      points: { size: (_, index) => (index === RAW ? 6 : 0), fill: colour('--chart-line') },
      y: false,
    },
    hooks: {
      setCursor: [(plot) => hovered(plot.cursor.idx ?? null)],
      setSelect: [(plot) => select(plot, zoomed)],
    },
  }
}

/** A single point still needs a scale with a width. */
function spread([low, high]: Zoom): Zoom {
  return low === high ? [low - 0.5, high + 0.5] : [low, high]
}

/** The range of the values with a margin. */
function height(low: number | null, high: number | null): uPlot.Range.MinMax {
  return flatRange(low, high) ?? uPlot.rangeNum(low!, high!, 0.1, true)
}

function line(stroke: string, width: number): uPlot.Series {
  return { stroke, width, points: { show: false } }
}

function points(colour: (name: string) => string): uPlot.Series.Points {
  return { show: (plot) => plot.data[0].length <= FEW, size: 4, fill: colour('--chart-line') }
}

function axes(axis: Axis, colour: (name: string) => string): uPlot.Axis[] {
  const look = {
    stroke: colour('--muted'),
    font: `11px ${getComputedStyle(document.body).fontFamily}`,
    grid: { stroke: colour('--grid'), width: 1 },
    ticks: { show: false },
  }
  const bottom = { ...look, size: 26, space: 60, grid: { show: false } }
  const x =
    axis === 'time'
      ? { ...bottom, values: (_: uPlot, splits: number[]) => splits.map(tick) }
      : { ...bottom, values: (_: uPlot, splits: number[]) => splits.map(String), incrs: WHOLE }
  const y = { ...look, size: width, space: 28, values: (_: uPlot, splits: number[]) => splits.map(number) }
  return [x, y]
}

/** In pixels: enough for the longest label, and the same for all charts whose labels are short. */
function width(_: uPlot, labels: string[] | null): number {
  const longest = Math.max(0, ...(labels ?? []).map((label) => label.length))
  return Math.max(54, 7 * longest + 8)
}

/** A drag that is wide enough zooms; its selection is removed. */
function select(plot: uPlot, zoomed: (zoom: Zoom) => void): void {
  const { left, width } = plot.select
  if (width < 6) return
  zoomed([plot.posToVal(left, 'x'), plot.posToVal(left + width, 'x')])
  plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false)
}
