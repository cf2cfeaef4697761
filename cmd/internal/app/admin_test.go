package app

import (
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"picket/cmd/internal/config"
	"picket/cmd/internal/role"
	"picket/ingest/kafka"
)

func TestAdminSaysWhatIsNotReady(t *testing.T) {
	reg, health := prometheus.NewRegistry(), role.NewHealth()
	role.NewMetrics(reg).Loop("store")
	a, err := StartAdmin(config.Admin{Listen: "127.0.0.1:0"}, reg, health, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Stop)
	ask := func(path string, status int, want string) {
		t.Helper()
		res, err := http.Get(a.URL() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != status || !strings.Contains(string(body), want) {
			t.Errorf("%s: %d %s (%v), want %d and %q", path, res.StatusCode, body, err, status, want)
		}
	}
	ask("/readyz", http.StatusServiceUnavailable, `"ready": false`) // no role has started
	health.Ready("detect")
	health.NotReady("store", `<b>no "ClickHouse"</b>`)
	ask("/readyz", http.StatusServiceUnavailable, `no \"ClickHouse\"`)
	ask("/", http.StatusOK, `&lt;b&gt;no`)
	ask("/healthz", http.StatusOK, "ok") // waiting is healthy
	health.Ready("store")
	ask("/readyz", http.StatusOK, `"ready": true`)
	ask("/metrics", http.StatusOK, `picket_parked{role="store"} 0`)
	for _, path := range []string{"/preview", "/preview.json", "/preview/any"} {
		ask(path, http.StatusNotFound, "set alerting.preview to always")
	}
	ask("/debug/pprof/", http.StatusNotFound, "") // only when asked for

	req, err := http.NewRequest(http.MethodGet, a.URL()+"/readyz", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "rebound.example" // whose DNS points at loopback
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("asked under another's name: %d", res.StatusCode)
	}

	_, err = StartAdmin(config.Admin{Listen: strings.TrimPrefix(a.URL(), "http://")}, reg, health, nil, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "admin.listen") {
		t.Errorf("a taken port: %v", err)
	}
}

func TestALoopThatDoesNotComeRoundIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := role.NewHealth()
		h.Ready("store")
		h.NotReady("detect", "parked")
		<-time.After(stuckAfter + time.Second)
		h.NotReady("detect", "still parked")
		if err := h.Stuck(stuckAfter); err == nil || !strings.Contains(err.Error(), "store") || strings.Contains(err.Error(), "detect") {
			t.Errorf("stuck: %v; a parked loop comes round", err)
		}
	})
}

// Kafka takes a static member's name only in this form.
func TestInstanceIDIsOneThatBrokersTake(t *testing.T) {
	legal := regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)
	seen := map[string]bool{}
	for _, name := range []string{"host:123", "picket-0", "a/b c", "héhé", strings.Repeat("x", 300)} {
		id := instanceID(name)
		if !legal.MatchString(id) {
			t.Errorf("%q becomes %q", name, id)
		}
		seen[id] = true
	}
	if len(seen) != 5 {
		t.Errorf("names fell together: %v", seen)
	}
}

func TestDrainWaitsForEveryPartition(t *testing.T) {
	now := time.Now()
	end := kafka.End{At: now.Add(time.Second)}
	for _, c := range []struct {
		name     string
		assigned []int32
		ends     map[int32]kafka.End
		want     bool
	}{
		{"none assigned yet", nil, nil, false},
		{"one not at its end", []int32{0, 1}, map[int32]kafka.End{0: end}, false},
		{"one seen before", []int32{0, 1}, map[int32]kafka.End{0: end, 1: {At: now.Add(-time.Second)}}, false},
		{"all", []int32{0, 1}, map[int32]kafka.End{0: end, 1: end}, true},
	} {
		if got := doneSince(c.assigned, c.ends, now); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
