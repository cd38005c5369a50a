/** Modules import in one direction, types included: a circle has no part that can be read or changed alone. */

import { expect, test } from 'vitest'

const SOURCES = import.meta.glob<string>('./**/*.{ts,tsx}', { query: '?raw', import: 'default', eager: true })
const IMPORT = /(?:from|import)\s*\(?\s*'(\.[^']*)'/g

/** Each module of `src` by its path without an ending, and what it imports from there. */
function imports(): Map<string, string[]> {
  const modules = Object.entries(SOURCES).filter(([file]) => !/\.(test|d)\.ts$/.test(file))
  return new Map(modules.map(([file, text]) => [named(file), importsOf(file, text)]))
}

function importsOf(file: string, text: string): string[] {
  return [...text.matchAll(IMPORT)].map(([, path]) => named(new URL(path!, `file:///${file}`).pathname))
}

function named(file: string): string {
  return file.replace(/^\.?\//, '').replace(/\.tsx?$/, '')
}

/** A circle as the modules that it goes through, or null. */
function circle(graph: Map<string, string[]>): string[] | null {
  const done = new Set<string>()
  const walk = (name: string, path: string[]): string[] | null => {
    if (path.includes(name)) return [...path.slice(path.indexOf(name)), name]
    if (done.has(name)) return null
    for (const next of graph.get(name) ?? []) {
      const circle = walk(next, [...path, name])
      if (circle !== null) return circle
    }
    done.add(name)
    return null
  }
  for (const name of graph.keys()) {
    const circle = walk(name, [])
    if (circle !== null) return circle
  }
  return null
}

test('no module imports itself through others', () => {
  expect(circle(imports())?.join(' -> ') ?? 'no circle').toBe('no circle')
})

test('a circle is found', () => {
  const graph = new Map([['a', ['b']], ['b', ['c']], ['c', ['b']]])
  expect(circle(graph)).toEqual(['b', 'c', 'b'])
})

test('every module is reached from a page', () => {
  const graph = imports()
  const reached = new Set<string>()
  const walk = (name: string): void => {
    if (reached.has(name)) return
    reached.add(name)
    for (const next of graph.get(name) ?? []) walk(next)
  }
  walk('main')
  walk('docs/main')
  expect([...graph.keys()].filter((name) => !reached.has(name))).toEqual([])
})
