// Package app wires Picket together, by hand, in one place, in order, and stops
// it in reverse: embedded servers, topics, keys, rules, roles, admin server.
// Nothing below it knows whether a server is embedded.
package app
