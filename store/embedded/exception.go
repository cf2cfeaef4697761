package embedded

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Codes of ClickHouse that the HTTP interface itself raises.
const (
	codeBadArguments    = 36
	codeNotImplemented  = 48
	codeSyntax          = 62
	codeReadOnly        = 164
	codeTooManyQueries  = 202
	codeNetwork         = 210
	codeAccessDenied    = 497
	codeAuthentication  = 516
	codeTooLarge        = 307
	codeCannotDecompres = 271
)

var codeNames = map[int]string{
	codeBadArguments: "BAD_ARGUMENTS", codeNotImplemented: "NOT_IMPLEMENTED", codeSyntax: "SYNTAX_ERROR",
	codeReadOnly: "READONLY", codeAccessDenied: "ACCESS_DENIED", codeTooManyQueries: "TOO_MANY_SIMULTANEOUS_QUERIES", codeNetwork: "NETWORK_ERROR",
	codeAuthentication: "AUTHENTICATION_FAILED", codeTooLarge: "TOO_MANY_BYTES", codeCannotDecompres: "CANNOT_DECOMPRESS",
}

// exception words an error of the interface as ClickHouse does.
func exception(code int, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf("Code: %d. DB::Exception: %s. (%s)", code, fmt.Sprintf(format, args...), codeNames[code])}
}

// asError gives every error a code.
func asError(err error) *Error {
	var e *Error
	var client *clientError
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &client):
		return exception(codeNetwork, "%s", client)
	default:
		return newError(err.Error())
	}
}

// httpStatus is ClickHouse's mapping of exception codes.
func httpStatus(code int) int {
	switch code {
	case 194: // REQUIRED_PASSWORD
		return http.StatusUnauthorized
	case 192, 193, codeAuthentication, codeAccessDenied: // UNKNOWN_USER, WRONG_PASSWORD
		return http.StatusForbidden
	case 6, 15, 25, 26, 27, 36, 38, 41, 44, 53, 62, 67, 69, 72, 76, 117, 167, 168, 271, 321, 376, 427, 456, 457, 675, 676:
		return http.StatusBadRequest
	case 16, 46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 336, 511:
		return http.StatusNotFound
	case codeTooLarge:
		return http.StatusRequestEntityTooLarge
	case codeNotImplemented:
		return http.StatusNotImplemented
	case 159, 209: // TIMEOUT_EXCEEDED, SOCKET_TIMEOUT
		return http.StatusRequestTimeout
	case codeTooManyQueries, 439:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// text is the message as it goes out, with the version that ClickHouse ends it with.
func (s *Server) text(e *Error) string {
	msg := strings.TrimRight(e.Message, "\n ")
	if !strings.Contains(msg, "(version ") {
		msg += " (version " + s.engine.version + ")"
	}
	return msg + "\n"
}

// midStream frames an exception for a body that has begun: the status is gone, so the
// client finds it by the tag that the headers announced.
func midStream(tag, msg string) string {
	msg = strings.TrimRight(msg, "\n")
	return fmt.Sprintf("\r\n__exception__\r\n%s\r\n%s\n%d %s\r\n__exception__\r\n", tag, msg, len(msg)+1, tag)
}

func newTag() string { return strings.ToLower(rand.Text()[:16]) }
