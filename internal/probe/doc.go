// Package probe looks at what listens at an address where a server was expected and something else
// answered, or nobody did: an error then says what is there, and not only what a client made of it.
//
// It is a second look, for the text of an error: no secret is sent, and nobody is to work by what it says.
package probe
