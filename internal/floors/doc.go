// Package floors holds two tests and no code: every import of the house points
// down, and every module that it is built from is listed with a reason.
//
//	7  examples, test                            what nobody imports
//	6  cmd/funnel
//	5  cli                                       joins app and demo
//	4  internal/app, internal/demo, integrations/all, playbooks
//	3  internal/httpapi webui docgen backup, funneltest
//	2  internal/intake engine queue store playbookfile config auth  |  integrations/*
//	1  internal/record upstream schema secret metrics audit observables faultpoint underway
//	0  funnel                                    the standard library only
//
// An import may only go down, so rooms on one floor do not meet. An integration
// imports only funnel, so that one in another module has the same means; its
// fake imports nothing of the house but funnel. Who brings integrations into a
// program is on floor 4 or above.
//
// Tests may import what they need.
package floors
