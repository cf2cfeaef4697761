package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// loaded is libchdb in this process. It is global because the library is: it cannot be
// unloaded, and it runs one engine on one data path at a time.
var loaded struct {
	sync.Mutex
	lib  *library
	data string // of the running engine, "" when none runs
}

// engine owns the connections to one running ClickHouse.
type engine struct {
	lib  *library
	lock *fileLock
	path string

	version, timezone string

	// One token per idle connection; whoever receives it owns it until it sends it back.
	readers chan *session
	writer  chan *session

	controlMu sync.Mutex
	control   *conn // classifies and kills, never waits behind a query
}

// configXML stops the engine from reading ./config.xml of whatever directory it is started
// in, and from writing to the terminal: there it tells of threads that are not its own.
const configXML = "<clickhouse><logger><level>none</level><console>0</console></logger></clickhouse>\n"

func openEngine(o Options) (_ *engine, err error) {
	loaded.Lock()
	defer loaded.Unlock()
	data, err := filepath.Abs(o.Path)
	if err != nil {
		return nil, fmt.Errorf("open embedded ClickHouse: %w", err)
	}
	if loaded.data != "" && loaded.data != data {
		return nil, fmt.Errorf("open embedded ClickHouse at %s: this process already runs it at %s, and libchdb runs only one", data, loaded.data)
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, fmt.Errorf("open embedded ClickHouse: %w", err)
	}
	lock, err := tryLock(data)
	if err != nil {
		return nil, fmt.Errorf("open embedded ClickHouse: %w", err)
	}
	defer func() {
		if err != nil {
			lock.unlock()
		}
	}()
	config := filepath.Join(data, "config.xml")
	users := filepath.Join(data, "users.xml")
	for path, text := range map[string]string{config: configXML, users: o.users} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("open embedded ClickHouse: %w", err)
		}
	}
	if loaded.lib == nil {
		if loaded.lib, err = openLibrary(o.LibPath); err != nil {
			return nil, err
		}
	}
	e := &engine{lib: loaded.lib, lock: lock, path: data, readers: make(chan *session, o.Readers), writer: make(chan *session, 1)}
	if err := e.connect(o, "--config-file="+config, "--users_config="+users, "--path="+filepath.Join(data, "clickhouse")); err != nil {
		e.closeAll()
		return nil, fmt.Errorf("open embedded ClickHouse at %s: %w", data, err)
	}
	loaded.data = data
	return e, nil
}

func (e *engine) connect(o Options, args ...string) (err error) {
	if e.control, err = e.lib.open(args...); err != nil {
		return err
	}
	var about strings.Builder
	if _, err := e.control.run(&about, "SELECT version(), timezone()", "TSV", nil); err != nil {
		return err
	}
	e.version, e.timezone, _ = strings.Cut(strings.TrimSpace(about.String()), "\t")
	// implicit_select is libchdb's own and makes "selec" an unknown column.
	// Expressions in VALUES would be a way round fence, so it says when they may be.
	common := []Setting{{"implicit_select", "0"}, {expressions, "0"}, {templates, "0"}}
	// With one writer there is nothing to gather, and an answer must mean "stored".
	w, err := e.session(args, append(common, Setting{"async_insert", "0"}))
	if err != nil {
		return err
	}
	e.writer <- w
	for range o.Readers {
		r, err := e.session(args, append(common,
			Setting{"max_execution_time", strconv.FormatFloat(o.ReadTimeout.Seconds(), 'f', -1, 64)},
			Setting{"max_memory_usage", strconv.FormatInt(o.ReadMemory, 10)},
			Setting{"readonly", "2"}))
		if err != nil {
			return err
		}
		e.readers <- r
	}
	return nil
}

func (e *engine) session(args []string, base []Setting) (*session, error) {
	c, err := e.lib.open(args...)
	if err != nil {
		return nil, err
	}
	s, err := newSession(c, base)
	if err != nil {
		c.close()
		return nil, err
	}
	return s, nil
}

// closeAll closes the idle connections; the last one stops the engine.
func (e *engine) closeAll() {
	for _, pool := range []chan *session{e.readers, e.writer} {
		for len(pool) > 0 {
			(<-pool).close()
		}
	}
	if e.control != nil {
		e.control.close()
	}
}

// close stops the engine. Closing a connection under a running query aborts the process,
// so queries that outlive ctx are killed first, and waited for.
func (e *engine) close(ctx context.Context) error {
	deadline := ctx.Done()
	hard := make(<-chan time.Time)
	var idle []*session
	for _, pool := range []chan *session{e.readers, e.writer} {
		for range cap(pool) {
			for taken := false; !taken; {
				select {
				case s := <-pool:
					idle, taken = append(idle, s), true
				case <-deadline:
					e.kill("1")
					deadline, hard = nil, time.After(5*time.Second)
				case <-hard:
					return errors.New("close embedded ClickHouse: a query does not end")
				}
			}
		}
	}
	for _, s := range idle {
		s.close()
	}
	loaded.Lock()
	defer loaded.Unlock()
	e.control.close()
	loaded.data = ""
	return e.lock.unlock()
}

func (e *engine) classify(sql string) (analysis, error) {
	e.controlMu.Lock()
	defer e.controlMu.Unlock()
	return e.control.classify(sql)
}

// kill asks queries to end; it does not wait for them.
func (e *engine) kill(where string) {
	e.controlMu.Lock()
	defer e.controlMu.Unlock()
	_ = e.control.exec("KILL QUERY WHERE " + where + " ASYNC")
}

// killWhile kills the statement with this log_comment again and again until stop is
// closed: a query can be killed only once it is registered, some time after its start.
func (e *engine) killWhile(comment string, stop <-chan struct{}) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		e.kill("Settings['log_comment'] = " + quote(comment))
		select {
		case <-stop:
			return
		case <-tick.C:
		}
	}
}

// work is one statement with everything that it needs to run.
type work struct {
	id       string // unique, and in system.processes as log_comment
	sql      string
	database string
	format   string
	params   []Param
	settings []Setting

	rows   [][]byte // of an INSERT that brings them along
	set    bool     // that INSERT has settings of its own
	stream bool     // hand the result out as it is made
}

func (e *engine) do(ctx context.Context, pool chan *session, w work, out io.Writer) (st Stats, err error) {
	var s *session
	select {
	case s = <-pool:
	case <-ctx.Done():
		return st, &Error{Code: 394, Message: "Code: 394. DB::Exception: Query was cancelled while it waited for a connection. (QUERY_WAS_CANCELLED)"}
	}
	defer func() { pool <- s }()
	if pool == e.readers {
		done, killed := make(chan struct{}), make(chan struct{})
		stop := context.AfterFunc(ctx, func() {
			defer close(killed)
			e.killWhile(w.id, done)
		})
		defer func() {
			close(done)
			if !stop() {
				<-killed
			}
		}()
	}
	settings := append(w.settings, Setting{"log_comment", w.id})
	if w.rows != nil && !w.set { // saves two statements, which cost as much as the insert of a row
		w.sql, settings = w.sql+" SETTINGS "+assign(settings), nil
	}
	err = s.with(w.database, settings, func() (err error) {
		switch {
		case w.rows != nil:
			st, err = s.insert(w.sql, w.format, w.params, w.rows)
		case w.stream:
			st, err = s.stream(out, w.sql, w.format, w.params)
		default:
			st, err = s.run(out, w.sql, w.format, w.params)
		}
		return err
	})
	return st, err
}

// sessionless checks a SET or USE and takes it back: HTTP without sessions keeps nothing.
func (e *engine) sessionless(ctx context.Context, w work) (Stats, error) {
	var s *session
	select {
	case s = <-e.readers:
	case <-ctx.Done():
		return Stats{}, &clientError{ctx.Err()}
	}
	defer func() { e.readers <- s }()
	err := s.exec(w.sql)
	s.restore(setNames(w.sql))
	if useErr := s.exec("USE " + quoteName(s.database)); useErr != nil {
		s.database = "" // dropped meanwhile; the next request sets its own
	}
	return Stats{}, err
}

// runKill runs a client's KILL past the queues: the writer may be what it is meant for.
func (e *engine) runKill(w work, out io.Writer) (Stats, error) {
	e.controlMu.Lock()
	defer e.controlMu.Unlock()
	return e.control.run(out, w.sql, w.format, w.params)
}
