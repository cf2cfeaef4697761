package main

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// A broker that takes connections and says nothing must not keep the tap, and with it the
// client that waits for it, after the server has ended.
func TestTapEndsWhileTheBrokerIsSilent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
		}
	}()
	began := time.Now()
	in := `{"jsonrpc":"2.0","id":1,"method":"tools/list"}` + "\n"
	var errs strings.Builder
	code := run(t.Context(), []string{"tap", "--brokers", l.Addr().String(), "--", "cat"}, strings.NewReader(in), io.Discard, &errs)
	if took := time.Since(began); code != exitOK || took > 8*time.Second {
		t.Errorf("exit %d after %s, want 0 within the flush time of 3 s and a little\n%s", code, took, errs.String())
	}
}
