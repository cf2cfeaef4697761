// Package config reads Picket's one YAML file.
//
// The struct Config is the only place that knows an option: its name, type,
// default (Default), bounds and documentation are its field and tags, and the
// commented default file, docs/configuration.md, and the generic checks are
// all made from them by reflection. What concerns two options at once is
// written out in rules.go.
//
// Load works in passes over the same YAML nodes, so that every problem, of
// whichever pass, carries file, line and column, and one run shows them all:
// parse, interpolate ${VARIABLES}, decode strictly over the defaults, read the
// *_file secrets, check. Interpolation comes after parsing because a variable
// must fill one value: text with a colon, a quote or a newline in it must not
// become new YAML.
//
// A secret is held by a Secret, which no formatter prints, and problems show
// their source line with secrets masked. Relative paths are relative to the
// file that names them, so a service finds them from any working directory.
package config

//go:generate go test -run ^TestDocsAreCurrent$ -update .
