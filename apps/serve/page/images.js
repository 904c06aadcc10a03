// An image by the networks that the server was given.
export function startImages() {}
