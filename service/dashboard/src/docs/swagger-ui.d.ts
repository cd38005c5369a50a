/** What of Swagger UI is used here; the package has no types of its own. */
declare module 'swagger-ui-dist/swagger-ui-es-bundle' {
  interface Options {
    dom_id: string
    url: string
    deepLinking: boolean
    validatorUrl: null
  }
  export default function SwaggerUI(options: Options): void
}
