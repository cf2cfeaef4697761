package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"picket/ingest"
	"picket/ingest/kafka/kafkatest"
)

// ended is how a command line ended.
type ended struct {
	code           int
	stdout, stderr string
}

// picket runs a command line that must end by itself.
func picket(t *testing.T, args ...string) ended {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	code := run(ctx, args, strings.NewReader(""), &stdout, &stderr)
	if ctx.Err() != nil {
		t.Fatalf("picket %s did not end\n%s", strings.Join(args, " "), stderr.String())
	}
	return ended{code, stdout.String(), stderr.String()}
}

// want checks the exit code and that the message has every part.
func (e ended) want(t *testing.T, code int, parts ...string) {
	t.Helper()
	if e.code != code {
		t.Errorf("exit code %d, want %d", e.code, code)
	}
	for _, p := range parts {
		if !strings.Contains(e.stderr, p) {
			t.Errorf("the message lacks %q", p)
		}
	}
	if strings.Contains(e.stderr, "hunter2") {
		t.Error("the message shows the password")
	}
	if t.Failed() {
		t.Logf("stderr:\n%s", e.stderr)
	}
}

// setting writes a configuration with keys and free ports; the sections come from the
// caller. ClickHouse is one that is never reached.
func setting(t *testing.T, sections string) (file string) {
	t.Helper()
	dir := t.TempDir()
	keys, err := ingest.NewKeyring(rand.Reader, time.Now())
	if err == nil {
		err = keys.WriteNew(filepath.Join(dir, "keys.json"))
	}
	if err != nil {
		t.Fatal(err)
	}
	for section, text := range map[string]string{
		"admin:": "admin: {listen: '127.0.0.1:0'}", "data_dir:": fmt.Sprintf("data_dir: %q", filepath.Join(dir, "data")),
		"privacy:":    fmt.Sprintf("privacy: {keys_file: %q}", filepath.Join(dir, "keys.json")),
		"clickhouse:": "clickhouse: {url: 'http://" + closed(t) + "'}",
	} {
		if !strings.Contains("\n"+sections, "\n"+section) {
			sections += "\n" + text
		}
	}
	file = filepath.Join(dir, "picket.yaml")
	if err := os.WriteFile(file, []byte(sections+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// taken is an address that somebody listens on, and says nothing.
func taken(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// closed is an address that nobody listens on.
func closed(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// secured is a listener that shows a certificate for the hosts, valid for so long from now.
func secured(t *testing.T, p kafkatest.PKI, valid time.Duration, hosts ...string) string {
	t.Helper()
	cert, key, err := p.Issue(fmt.Sprintf("%s%d", hosts[0], valid), valid, hosts...)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
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
			go func() {
				defer c.Close()
				_ = c.(*tls.Conn).Handshake() // the client's to judge
			}()
		}
	}()
	return l.Addr().String()
}

func pki(t *testing.T) kafkatest.PKI {
	t.Helper()
	p, err := kafkatest.NewPKI(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPortsInUse(t *testing.T) {
	busy := taken(t)
	// The one option or flag that chose the address is named, and none of the others.
	refused := func(t *testing.T, option string, args ...string) {
		t.Helper()
		e := picket(t, args...)
		e.want(t, exitUnavailable, busy, "in use", option, "port 0 takes a free one")
		for _, other := range []string{"admin.listen", "kafka.embedded.listen", "clickhouse.embedded.listen", "--kafka", "--clickhouse"} {
			if other != option && strings.Contains(e.stderr, other) {
				t.Errorf("%s is taken, and %s is named: %s", option, other, e.stderr)
			}
		}
	}
	t.Run("admin", func(t *testing.T) {
		refused(t, "admin.listen", "run", "-c", setting(t, "admin: {listen: '"+busy+"'}"))
	})
	t.Run("kafka", func(t *testing.T) {
		refused(t, "kafka.embedded.listen", "run", "-c", setting(t, "kafka: {embedded: {listen: '"+busy+"'}}"))
		refused(t, "--kafka", "embedded", "--kafka", busy, "-c", setting(t, ""))
	})
	t.Run("clickhouse", func(t *testing.T) {
		engine(t)
		refused(t, "clickhouse.embedded.listen", "run", "-c", setting(t, "clickhouse: {embedded: {listen: '"+busy+"'}}"))
		refused(t, "--clickhouse", "embedded", "--kafka", "127.0.0.1:0", "--clickhouse", busy, "-c", setting(t, ""))
	})
}

func TestKafkaRefuses(t *testing.T) {
	trusted, other := pki(t), pki(t)
	tls := func(addr, ca string) string {
		return setting(t, "kafka: {brokers: ['"+addr+"'], tls: {enabled: true, ca_file: '"+ca+"'}}")
	}
	t.Run("unreachable", func(t *testing.T) {
		one, two := closed(t), closed(t)
		for _, command := range [][]string{{"run"}, {"topics", "create"}, {"topics", "verify"}} {
			picket(t, append(command, "-c", setting(t, "kafka: {brokers: ['"+one+"', '"+two+"']}"))...).
				want(t, exitUnavailable, one, two, "connection refused", "is the broker running")
		}
	})
	t.Run("expired certificate", func(t *testing.T) {
		addr := secured(t, trusted, -time.Hour, "127.0.0.1")
		picket(t, "run", "-c", tls(addr, trusted.CAFile)).want(t, exitConfig, addr, "expired", "valid from", "renew it")
	})
	t.Run("unknown authority", func(t *testing.T) {
		addr := secured(t, trusted, time.Hour, "127.0.0.1")
		picket(t, "run", "-c", tls(addr, other.CAFile)).want(t, exitConfig, addr, "not trusted here", "ca_file")
	})
	t.Run("another host's certificate", func(t *testing.T) {
		addr := secured(t, trusted, time.Hour, "kafka.example.org")
		picket(t, "run", "-c", tls(addr, trusted.CAFile)).want(t, exitConfig, addr, "for another host", "server_name")
	})
	t.Run("plaintext to TLS", func(t *testing.T) {
		addr := secured(t, trusted, time.Hour, "127.0.0.1")
		picket(t, "run", "-c", setting(t, "kafka: {brokers: ['"+addr+"']}")).want(t, exitConfig, addr, "expects TLS", "kafka.tls.enabled")
	})
	t.Run("wrong password", func(t *testing.T) {
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "picket", "right"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		picket(t, "run", "-c", setting(t, "kafka: {brokers: ['"+c.ListenAddrs()[0]+"'], sasl: {mechanism: scram-sha-256, username: picket, password: hunter2}}")).
			want(t, exitConfig, c.ListenAddrs()[0], "refused the user name or password", `user "picket"`)
	})
}

func TestMoreReplicasThanBrokers(t *testing.T) {
	for brokers, wants := range map[int]string{1: "has 1 broker: set kafka.replication_factor to 1", 2: "has 2 brokers: set kafka.replication_factor to 2 at most"} {
		c, err := kfake.NewCluster(kfake.NumBrokers(brokers))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conf := setting(t, "kafka: {brokers: ['"+c.ListenAddrs()[0]+"'], replication_factor: 3}")
		picket(t, "topics", "create", "-c", conf).want(t, exitConfig, "create topic picket.meta", "kafka.replication_factor is 3", wants)
		picket(t, "topics", "create", "-c", setting(t, "kafka: {brokers: ['"+c.ListenAddrs()[0]+"'], replication_factor: 1}")).want(t, exitOK)
	}
}

func TestTopicsRefused(t *testing.T) {
	broker := kafkatest.Embedded(t)[0]
	conf := setting(t, "kafka: {brokers: ['"+broker+"'], partitions: {signals: 2}}")
	picket(t, "run", "-c", conf).want(t, exitConfig, "mcp.events", "picket.signals", "picket.alerts", "picket.deliveries", "picket.dead", "does not exist", "picket topics create")
	picket(t, "topics", "verify", "-c", conf).want(t, exitConfig, "picket topics create")
	made := picket(t, "topics", "create", "-c", conf)
	made.want(t, exitOK)
	if !strings.Contains(made.stdout, "made mcp.events, picket.signals") {
		t.Error(made.stdout)
	}
	picket(t, "topics", "verify", "-c", conf).want(t, exitOK)

	// Somebody gives a topic more partitions: groups would be dealt anew.
	client, err := kgo.NewClient(kgo.SeedBrokers(broker))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	req := kmsg.NewPtrCreatePartitionsRequest()
	more := kmsg.NewCreatePartitionsRequestTopic()
	more.Topic, more.Count = "picket.signals", 5
	req.Topics, req.TimeoutMillis = append(req.Topics, more), 5000
	res, err := req.RequestWith(t.Context(), client)
	if err != nil || res.Topics[0].ErrorCode != 0 {
		t.Fatalf("add partitions: %v %+v", err, res)
	}
	for _, command := range [][]string{{"run"}, {"topics", "verify"}, {"topics", "create"}} {
		picket(t, append(command, "-c", conf)...).want(t, exitConfig, "picket.signals: it has 5 partitions, and 2 were recorded", "delete the topic")
	}
}

func TestClickHouseRefuses(t *testing.T) {
	trusted, other := pki(t), pki(t)
	tls := func(addr, ca string) string {
		return setting(t, "clickhouse: {url: 'https://"+addr+"', tls: {ca_file: '"+ca+"'}}")
	}
	t.Run("expired certificate", func(t *testing.T) {
		addr := secured(t, trusted, -time.Hour, "127.0.0.1")
		for _, command := range []string{"run", "migrate"} {
			picket(t, command, "-c", tls(addr, trusted.CAFile)).want(t, exitConfig, "clickhouse at https://"+addr, "certificate expired on", "renew it")
		}
	})
	t.Run("unknown authority", func(t *testing.T) {
		addr := secured(t, trusted, time.Hour, "127.0.0.1")
		picket(t, "run", "-c", tls(addr, other.CAFile)).want(t, exitConfig, addr, "authority", "tls.ca_file")
	})
	t.Run("another host's certificate", func(t *testing.T) {
		addr := secured(t, trusted, time.Hour, "ch.example.org")
		picket(t, "run", "-c", tls(addr, trusted.CAFile)).want(t, exitConfig, addr, "ch.example.org", "tls.server_name")
	})
	t.Run("migrate without a server", func(t *testing.T) {
		picket(t, "migrate", "-c", setting(t, "")).want(t, exitUnavailable, "connection refused", "is ClickHouse running")
		picket(t, "migrate", "-c", setting(t, "clickhouse: {}")).want(t, exitConfig, "clickhouse.url is empty", "picket run")
	})
	t.Run("wrong password", func(t *testing.T) {
		engine(t)
		url := start(t, "clickhouse", t.TempDir()).says(t, `(http://\S+)`)
		for _, command := range []string{"run", "migrate"} {
			picket(t, command, "-c", setting(t, "clickhouse: {url: '"+url+"', user: picket, password: hunter2}")).
				want(t, exitConfig, url, `user "picket"`, "wrong password or no such user")
		}
		picket(t, "migrate", "-c", setting(t, "clickhouse: {url: '"+url+"', user: picket, password: right}")).want(t, exitOK, "applied")
	})
}

// A ClickHouse that is away holds up its own roles, which say so, and nobody else.
func TestClickHouseAway(t *testing.T) {
	p := start(t, "picket", "run", "-c", setting(t, "log: {level: debug}"))
	admin := p.says(t, `admin server is up" url=(\S+)`)
	p.says(t, `(picket is running)`)
	type answer struct {
		Ready bool
		Roles []struct {
			Name, Why string
			Ready     bool
		}
	}
	kafkatest.Eventually(t, 20*time.Second, "detect, correlate and preview are ready, the roles that store are not, and say why", func() bool {
		res, err := http.Get(admin + "/readyz")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		var a answer
		if json.NewDecoder(res.Body).Decode(&a) != nil || a.Ready || res.StatusCode != http.StatusServiceUnavailable {
			return false
		}
		ready, why := map[string]bool{}, map[string]string{}
		for _, r := range a.Roles {
			ready[r.Name], why[r.Name] = r.Ready, r.Why
		}
		return ready["detect"] && ready["correlate"] && ready["notify preview"] && !ready["store"] && strings.Contains(why["store"], "connection refused") &&
			strings.Contains(why["store"], "is ClickHouse running") && !ready["notify clickhouse alerts"]
	})
	p.says(t, `(parked: will try again, nothing is skipped" role=store)`)
	if res, err := http.Get(admin + "/healthz"); err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("a role that waits needs no restart: %v %v", res, err)
	}
	p.stop(t)
}

// What a server says in an error does not act on a terminal.
func TestAServersErrorIsEscaped(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-ClickHouse-Exception-Code", "497")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, "Code: 497. DB::Exception: \x1b[31mred\u009b2J. (ACCESS_DENIED)")
	}))
	t.Cleanup(server.Close)
	e := picket(t, "alerts", "list", "-c", setting(t, "clickhouse: {url: '"+server.URL+"'}"))
	if e.code == exitOK || !strings.Contains(e.stderr, "red") || strings.ContainsAny(e.stderr, "\x1b\u009b") {
		t.Errorf("code %d: %q", e.code, e.stderr)
	}
}
