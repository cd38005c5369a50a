import { defineConfig, type Plugin } from 'vite'

// The page keeps a key in the browser: nothing but its own files may run in it or be asked by it.
const POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; form-action 'self'"

/** What `npm run dev` asks: a `hone up` on its usual port. */
const SERVER = 'http://127.0.0.1:8000'

/** The policy goes into the built page only: the development server injects scripts of its own. */
function contentSecurityPolicy(): Plugin {
  const tag = { tag: 'meta', attrs: { 'http-equiv': 'Content-Security-Policy', content: POLICY }, injectTo: 'head-prepend' as const }
  return { name: 'content-security-policy', apply: 'build', transformIndexHtml: () => [tag] }
}

export default defineConfig({
  plugins: [contentSecurityPolicy()],
  build: { target: 'es2022', modulePreload: { polyfill: false } },
  server: { proxy: { '/v1': SERVER, '/readyz': SERVER, '/docs': SERVER, '/openapi.json': SERVER } },
})
