package store

import (
	"context"
	"fmt"
)

// doubt is how much of a block may be stored already.
type doubt int

const (
	fresh  doubt = iota // nothing: what goes before was stored here
	seen                // nothing that we know of, but its token may have been used
	redone              // some pieces of it may be
	aged                // the same, of rows that expire as soon as they are stored: not to see them says nothing
)

// mostTokens bounds how often a server may have noted a token and lost the rows.
const mostTokens = 5

// keep stores the rows of one partition, of which where finds one. A server that is killed, or has
// no room, between its note of a token and the rename of the part keeps the note alone, and drops
// every insert under that token from then on. So where the token may have been used, the rows are
// looked for afterwards, and brought under the next token if they are not there. Who has the next
// one in hand knows by then that the rows of the one before will not come: the server holds a lock
// from the note to the part.
func (db *DB) keep(ctx context.Context, r *rows, token string, d doubt, where string, args ...any) error {
	if d == fresh || r.n == 0 {
		return db.insert(ctx, r, token)
	}
	for n := range mostTokens {
		if n > 0 || d >= redone {
			there, err := db.there(ctx, r.table, where, args...)
			if there || err != nil {
				return err
			}
		}
		name := token
		if n > 0 {
			if atomic, err := db.atomicTokens(ctx, r.table); atomic || err != nil {
				return err
			}
			name = fmt.Sprintf("%s/%d", token, n)
		}
		if err := db.insert(ctx, r, name); err != nil || d == aged {
			return err
		}
	}
	if there, err := db.there(ctx, r.table, where, args...); there || err != nil {
		return err
	}
	return fmt.Errorf("insert %d rows into %s: the server says that it has them, and does not show any", r.n, r.table)
}

func (db *DB) there(ctx context.Context, table, where string, args ...any) (bool, error) {
	var n uint64
	if err := db.row(ctx, []any{&n}, "SELECT count() FROM "+db.table(table)+" WHERE "+where, args...); err != nil {
		return false, fmt.Errorf("look into %s: %w", table, err)
	}
	return n > 0, nil
}

// atomicTokens reports whether the table's replicas note the token and the part in one step. Such a
// replica may also lag, and not show what another one has.
func (db *DB) atomicTokens(ctx context.Context, table string) (bool, error) {
	var n uint64
	if err := db.row(ctx, []any{&n}, "SELECT count() FROM system.tables WHERE database = ? AND name = ? AND match(engine, '^(Replicated|Shared)')", db.t.Database, table); err != nil {
		return false, fmt.Errorf("look what %s is: %w", table, err)
	}
	return n > 0, nil
}
