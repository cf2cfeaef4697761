// Package diag reads YAML strictly and says what is wrong with it like a compiler does.
//
// Rules and configuration are written by hand, often at night. So every
// problem of a file is reported in one pass, each with file, line, column, the
// source line with a caret below it, and where possible what to write instead.
// Nothing is half-read: a caller that gets Problems uses none of the values.
//
// Parse makes yaml.Node trees and refuses what strict YAML should not hold
// (duplicate keys, merge keys, alias bombs). Decode fills Go values from a
// node by reflection; unknown keys and wrong types are problems. A type with
// its own shape implements NodeDecoder and reports through Ctx. A caller may
// change nodes in between, such as to interpolate variables: clear Tag and
// Style of a scalar whose Value changed and its type is resolved anew.
package diag
