//go:build !linux

package tap

const takesAlong = false
