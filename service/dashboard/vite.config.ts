import { defineConfig } from 'vite'

/** What `npm run dev` asks: a `hone up` on its usual port. */
const SERVER = 'http://127.0.0.1:8000'

export default defineConfig({
  base: './', // the service may be below any prefix
  build: {
    target: 'es2022',
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1600, // Swagger UI, which only /docs loads
    rolldownOptions: { input: ['index.html', 'docs.html'] },
  },
  server: { proxy: { '/v1': SERVER, '/readyz': SERVER, '/docs': SERVER, '/openapi.json': SERVER } },
})
