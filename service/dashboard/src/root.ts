/** Where the service is: the page is at its root, which may be below any prefix of the host. Ends in a slash. */
export const root = `${location.origin}${location.pathname.replace(/\/*$/, '/')}`
