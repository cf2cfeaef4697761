// Command picket watches MCP servers: it reads their security events from
// Kafka, stores them in ClickHouse, and tells people when a rule fires.
//
// main only hands the process's arguments and streams to run, so that tests
// call the same code. root.go builds the command tree by hand from env, which
// carries everything a command may touch: no package variables, no init. Each
// command is a file cmd_NAME.go with func newNameCmd(e *env) *cobra.Command,
// and is listed in commands.
//
// A command returns its error; run alone prints it and turns it into an exit
// code. An exitError chooses the code, any other error is a failure (1), and
// what is wrong before a command starts is a usage error (2).
package main
