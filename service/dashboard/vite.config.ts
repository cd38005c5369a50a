import { defineConfig } from 'vite'

/** What `npm run dev` asks: a `hone up` on its usual port. */
const SERVER = 'http://127.0.0.1:8000'

export default defineConfig({
  build: { target: 'es2022', modulePreload: { polyfill: false } },
  server: { proxy: { '/v1': SERVER, '/readyz': SERVER, '/docs': SERVER, '/openapi.json': SERVER } },
})
