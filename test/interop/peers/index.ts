// Real servers for tests: php-fpm, nginx, lighttpd, Apache, Caddy, HAProxy and fcgiwrap with a configuration in a temporary folder.
//
// The very same ones that the benchmarks use, so that what is measured is also what is tested. They live there because the benchmarks
// run as plain modules on every Node that Viaduct supports, and tests can import those, not the other way round.

export {
  findPhpFpm,
  freePort,
  lighttpdPhp,
  startApache,
  startCaddy,
  startFcgiwrap,
  startHaproxy,
  startLighttpd,
  startNginx,
  startPhpFpm,
  temporaryFolder,
} from '../../../bench/peers.mjs'
export type { Peer } from '../../../bench/peers.mjs'
