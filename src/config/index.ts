// A folder becomes a plan, and a plan becomes a site: the only place that turns names of kinds into constructors.

export { describeFolder } from './describe.ts'
export type { DescribeOptions, PhpSettings, PlanEntry, SitePlan, SiteSettings } from './describe.ts'
export { buildSite } from './site.ts'
export type { SiteContext } from './site.ts'
export { locate } from './locate.ts'
export type { LocateSettings, Located, Look, Probe } from './locate.ts'
export type { Missing } from './interpreter.ts'
export type { WalkLimits } from './walk.ts'
