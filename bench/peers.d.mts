// Types of peers.mjs for the tests, which are TypeScript; the benchmarks run as they are.

/** Where a peer listens: a port of 127.0.0.1, or a unix socket. */
export interface PeerAddress {
  readonly port?: number
  readonly path?: string
}

/** A server that was started and accepts connections. */
export interface Peer<A extends PeerAddress = PeerAddress> {
  readonly name: string
  /** The master process, which leads its own process group. */
  readonly pid: number
  readonly address: A
  /** A file with all it wrote. */
  readonly log: string
  /** SIGTERM, after five seconds SIGKILL, to the whole group. Resolves when it has ended. */
  stop(): Promise<void>
}
export type SocketPeer = Peer<{ readonly path: string }>
export type PortPeer = Peer<{ readonly port: number }>

export function findPhpFpm(): string | undefined
export function temporaryFolder(name?: string): { readonly path: string; remove(): void }
export function startPhpFpm(options: { folder: string; workers?: number; name?: string; pool?: string }): Promise<SocketPeer>
export function startNginx(options: { folder: string; server: string; http?: string; name?: string; processes?: number }): Promise<PortPeer>
export function startLighttpd(options: {
  folder: string
  documentRoot: string
  modules?: readonly string[]
  config?: string
  name?: string
}): Promise<PortPeer>
export function lighttpdPhp(folder: string, workers: number): string
export function startApache(options: {
  folder: string
  documentRoot: string
  modules?: readonly string[]
  config?: string
  name?: string
}): Promise<PortPeer>
export function startFcgiwrap(options: { folder: string; children?: number; name?: string }): Promise<SocketPeer>
export function startHaproxy(options: {
  folder: string
  frontend: string
  global?: string
  config?: string
  name?: string
}): Promise<PortPeer>
export function startCaddy(options: { folder: string; site: string; config?: string; name?: string }): Promise<PortPeer>
export function freePort(host?: string): Promise<number>
