// Package channeltest has the contract that every alerting.Destination passes
// (Run), and fakes of the services at the wire: Slack's Web API and incoming
// webhooks, PagerDuty Events v2, and a plain webhook receiver.
//
// The fakes refuse what the services refuse, with their error shapes, and can
// fail on request in the two ways that matter: failed, and failed after it had
// effect. Each can be reached by URL over loopback, or by Client without a
// socket, which works inside a testing/synctest bubble.
package channeltest
