package embedded

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// library is the part of libchdb's C interface that this package calls. Handles are
// uintptr: they point to C memory that Go must neither read nor free.
type library struct {
	version func() string

	connect   func(argc int32, argv **byte) *uintptr
	closeConn func(conn *uintptr)

	query       func(conn uintptr, sql *byte, sqlLen uintptr, format *byte, formatLen uintptr, names **byte, nameLens *uintptr, values **byte, valueLens *uintptr, n uintptr) uintptr
	streamQuery func(conn uintptr, sql *byte, sqlLen uintptr, format *byte, formatLen uintptr, names **byte, nameLens *uintptr, values **byte, valueLens *uintptr, n uintptr) uintptr
	streamFetch func(conn, stream uintptr) uintptr
	streamStop  func(conn, stream uintptr)

	insert       func(conn uintptr, sql *byte, sqlLen uintptr, format *byte, formatLen uintptr, names **byte, nameLens *uintptr, values **byte, valueLens *uintptr, n uintptr) uintptr
	insertAppend func(stream uintptr, data *byte, n uintptr) int32
	insertDone   func(stream uintptr) uintptr
	insertError  func(stream uintptr) string
	insertFree   func(stream uintptr)

	classify func(conn uintptr, sql *byte, sqlLen uintptr, database *byte, databaseLen uintptr, out *analysis) int32

	buffer       func(result uintptr) *byte
	length       func(result uintptr) uintptr
	elapsed      func(result uintptr) float64
	rowsRead     func(result uintptr) uint64
	scannedRows  func(result uintptr) uint64
	scannedBytes func(result uintptr) uint64
	rowsWritten  func(result uintptr) uint64
	bytesWritten func(result uintptr) uint64
	resultError  func(result uintptr) string
	free         func(result uintptr)

	setSignalHandlers func(enabled int32)
	sigaction         func(sig int32, set, old *signalAction) int32
}

// analysis mirrors chdb_query_analysis_v1.
type analysis struct {
	size, statements, _, class uint32
}

// openLibrary maps libchdb into the process and takes its signal handling away, which
// would otherwise replace the Go runtime's: a nil dereference would end the process.
func openLibrary(path string) (*library, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("load libchdb: %w", err)
	}
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("load libchdb: %w", err)
	}
	l := &library{}
	var missing []error
	for _, f := range []struct {
		fn   any
		name string
	}{
		{&l.version, "chdb_version"},
		{&l.connect, "chdb_connect"},
		{&l.closeConn, "chdb_close_conn"},
		{&l.query, "chdb_query_with_params_n"},
		{&l.streamQuery, "chdb_stream_query_with_params_n"},
		{&l.streamFetch, "chdb_stream_fetch_result"},
		{&l.streamStop, "chdb_stream_cancel_query"},
		{&l.insert, "chdb_stream_insert_with_params_n"},
		{&l.insertAppend, "chdb_stream_append"},
		{&l.insertDone, "chdb_stream_done"},
		{&l.insertError, "chdb_stream_insert_error"},
		{&l.insertFree, "chdb_destroy_insert_stream"},
		{&l.classify, "chdb_classify_query_n"},
		{&l.buffer, "chdb_result_buffer"},
		{&l.length, "chdb_result_length"},
		{&l.elapsed, "chdb_result_elapsed"},
		{&l.rowsRead, "chdb_result_rows_read"},
		{&l.scannedRows, "chdb_result_storage_rows_read"},
		{&l.scannedBytes, "chdb_result_storage_bytes_read"},
		{&l.rowsWritten, "chdb_result_rows_written"},
		{&l.bytesWritten, "chdb_result_bytes_written"},
		{&l.resultError, "chdb_result_error"},
		{&l.free, "chdb_destroy_query_result"},
		{&l.setSignalHandlers, "chdb_set_signal_handlers_enabled"},
		{&l.sigaction, "sigaction"},
	} {
		// libchdb links libc, so sigaction is found through its handle.
		sym, err := purego.Dlsym(handle, f.name)
		if err != nil {
			missing = append(missing, err)
			continue
		}
		purego.RegisterFunc(f.fn, sym)
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("load libchdb %s: not the version this needs (%s): %w", path, Version, errors.Join(missing...))
	}
	l.keepSignals(func() { l.setSignalHandlers(0) })
	return l, nil
}

// signalAction is an opaque struct sigaction, large enough for every platform.
type signalAction [256]byte

// keepSignals runs call and then puts back every signal disposition it changed. The
// pinned libchdb changes none once its own handlers are off; before 26.7.3 turning them
// off, and every connect, reset SIGSEGV, SIGBUS, SIGFPE ... to the default.
func (l *library) keepSignals(call func()) {
	const last = 31 // the real-time signals above are nobody's here
	var saved, now [last + 1]signalAction
	for s := int32(1); s <= last; s++ {
		l.sigaction(s, nil, &saved[s])
	}
	call()
	for s := int32(1); s <= last; s++ {
		if l.sigaction(s, nil, &now[s]); now[s] != saved[s] {
			l.sigaction(s, &saved[s], nil)
		}
	}
}

// cBytes lends s to C for the length of one call.
func cBytes(s string) (*byte, uintptr) {
	return unsafe.StringData(s), uintptr(len(s))
}

// cParams lays query parameters out as C wants them. The pinner must be unpinned after the call.
type cParams struct {
	names, values       []*byte
	nameLens, valueLens []uintptr
}

func newParams(pin *runtime.Pinner, params []Param) *cParams {
	p := &cParams{}
	for _, kv := range params {
		// A trailing NUL so that an empty value still has an address.
		name, value := append([]byte(kv.Name), 0), append([]byte(kv.Value), 0)
		pin.Pin(&name[0])
		pin.Pin(&value[0])
		p.names = append(p.names, &name[0])
		p.values = append(p.values, &value[0])
		p.nameLens = append(p.nameLens, uintptr(len(kv.Name)))
		p.valueLens = append(p.valueLens, uintptr(len(kv.Value)))
	}
	return p
}

func (p *cParams) args() (names **byte, nameLens *uintptr, values **byte, valueLens *uintptr, n uintptr) {
	return unsafe.SliceData(p.names), unsafe.SliceData(p.nameLens), unsafe.SliceData(p.values), unsafe.SliceData(p.valueLens), uintptr(len(p.names))
}
