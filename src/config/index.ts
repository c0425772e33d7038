// A folder becomes a plan, and a plan becomes a site: the only place that turns names of kinds into constructors.

export { describeFolder } from './describe.ts'
export type { DescribeOptions, PlanEntry, SitePlan } from './describe.ts'
export { buildSite } from './site.ts'
export type { SiteContext } from './site.ts'
