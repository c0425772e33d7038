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

export interface StartOptions<A extends PeerAddress> {
  readonly address: A
  readonly env?: Record<string, string>
  readonly cwd?: string
  readonly log: string
  readonly deadline?: number
}

export function findProgram(...names: string[]): string | undefined
export function requireProgram(...names: string[]): string
export function findPhpFpm(): string | undefined
export function temporaryFolder(name?: string): { readonly path: string; remove(): void }
export function freePort(): Promise<number>
export function accepts(address: PeerAddress): Promise<boolean>
export function startPeer<A extends PeerAddress>(
  name: string,
  command: string,
  args: readonly string[],
  options: StartOptions<A>,
): Promise<Peer<A>>
export function startPhpFpm(options: { folder: string; workers?: number; name?: string; pool?: string }): Promise<SocketPeer>
export function startPhpCgi(options: { folder: string; workers?: number; name?: string; env?: Record<string, string> }): Promise<SocketPeer>
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
