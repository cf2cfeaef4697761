package app

import (
	"errors"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"picket/cmd/internal/config"
)

// A folder that may not be written is the operator's to mend: restarting does not help.
func TestDataDirThatMayNotBeWritten(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("/sys, where root may make no folder either, is Linux's")
	}
	c := config.Default()
	c.DataDir = "/sys/picket"
	s, err := StartServers(t.Context(), c, slog.New(slog.DiscardHandler), nil)
	if err == nil {
		_ = s.Stop(time.Now())
	}
	var setup *SetupError
	if !errors.As(err, &setup) || !strings.Contains(err.Error(), "set data_dir to a folder that this user may write") {
		t.Errorf("got %v", err)
	}
}

// TestUsualAddress has another program at the usual address: a free port is taken, and only
// where the configuration leaves the choice.
func TestUsualAddress(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	busy := other.Addr().String()
	var at string
	open := func(addr string) error {
		l, err := net.Listen("tcp", addr)
		if err == nil {
			at = l.Addr().String()
			err = l.Close()
		}
		return err
	}
	log := slog.New(slog.DiscardHandler)
	if err := listen("x.listen", "", busy, log, open); err != nil || at == "" || at == busy {
		t.Errorf("listens at %q: %v", at, err)
	}
	free := at
	if err := listen("x.listen", "", free, log, open); err != nil || at != free {
		t.Errorf("the usual address is free, and it listens at %q: %v", at, err)
	}
	var taken *TakenError
	if err := listen("x.listen", busy, free, log, open); !errors.As(err, &taken) || taken.Option != "x.listen" {
		t.Errorf("a configured address that is taken: %v", err)
	}
}
