// Package demo shows Picket's whole job on this machine: embedded servers, the
// official MCP filesystem server under the tap, a client that behaves well and
// then does not, a burst of log lines, and the alerts as they fire. Nothing in
// it is part of the pipeline; it stands outside, as a user does.
package demo
