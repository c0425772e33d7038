// What a client is told that did not send a request, and how node's parser says why.

import { STATUS_CODES } from 'node:http'

export function refuseConnect(socket: { end(data: string): unknown; on(event: 'error', listener: () => void): unknown }): void {
  socket.on('error', () => {})
  socket.end(bare(501))
}

/** A whole answer in one string. */
export function bare(status: number): string {
  return `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Length: 0\r\nDate: ${new Date().toUTCString()}\r\n\r\n`
}

/** 0: there is nobody to be told. */
export function clientErrorStatus(code: string | undefined): number {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return 431
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return 413
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return 408
    default:
      return code?.startsWith('HPE_') === true ? 400 : 0
  }
}
